"""Texts that a pipeline does not read as they are meant: long ones, weighed ones, with layers left out.

The lines encode them as Darkroom says that it does (docs/prompts.md), with nothing but the pipeline's own encoders.
"""

from __future__ import annotations

from darkroom.errors import DarkroomError
from darkroom.explain.calls import Way
from darkroom.explain.made import Made
from darkroom.models.family import NORM, WEIGHTS
from darkroom.request.embeddings import token, with_tokens
from darkroom.request.weighted import Part, is_unweighted, parse, plain, words_of

#: No text of so few bytes has more tokens.
SURELY_ONE_BLOCK = 75

_LINES = """\
readers = {readers}


{blocks}

def numbers_of(encoder, said):
    return {numbers}


@torch.no_grad()
def embed(parts):
    \"\"\"The numbers of a text: of its blocks, side by side, each weighed and scaled back to its length.\"\"\"
    found = []
    for tokenizer, encoder in readers:
        cut, size = blocks(tokenizer, parts), tokenizer.model_max_length
        cut += [[]] * (count - len(cut))
        first, last, fill = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        ids = [[first, *(token for token, _ in each), last] + [fill] * (size - 2 - len(each)) for each in cut]
        weights = [[1.0, *(weight for _, weight in each)] + [1.0] * (size - 1 - len(each)) for each in cut]
        said = encoder(torch.tensor(ids, device=pipe.device), output_hidden_states=True)
        numbers = numbers_of(encoder, said)
{weighed}        found.append(numbers.reshape(1, -1, numbers.shape[-1]))
    return torch.cat(found, dim=-1), said[0][:1]


{texts}
count = max(len(blocks(tokenizer, parts)) for tokenizer, _ in readers for parts in ({names}))
{embedded}"""

#: Each token's numbers, multiplied.
_NORM = """\
        weighed = numbers * torch.tensor(weights, dtype=numbers.dtype, device=pipe.device)[:, :, None]
"""
#: In both ways.
_SCALED = """\
        if any(weight != 1 for each in weights for weight in each):
            lengths = [torch.linalg.vector_norm(each.float(), dim=(1, 2), keepdim=True) for each in (numbers, weighed)]
            numbers = (weighed * torch.where(lengths[1] > 0, lengths[0] / lengths[1], 1)).to(numbers.dtype)
"""
#: The blocks, moved away from the same ones without the words of each weight.
_WITHOUT = """\
        weighed = numbers
        for weight in sorted({weight for each in weights for weight in each} - {1.0}):
            rows = [row for row, each in enumerate(weights) if weight in each]
            hidden = torch.tensor([[other == weight for other in weights[row]] for row in rows], device=pipe.device)
            less = torch.tensor([ids[row] for row in rows], device=pipe.device).masked_fill(hidden, fill)
            less = encoder(less, attention_mask=(~hidden).long(), output_hidden_states=True)
            less = numbers[rows].float() - numbers_of(encoder, less).float()
            weighed = weighed.float().index_add(0, torch.tensor(rows, device=pipe.device), less, alpha=weight - 1)
"""

_BLOCKS = """\
def blocks(tokenizer, parts):
    \"\"\"The tokens of a text with their weights, as many at a time as its encoder reads.\"\"\"
    room = tokenizer.model_max_length - 2
    tokens = [
        [(token, weight) for words, weight in part for token in tokenizer(words, add_special_tokens=False).input_ids]
        for part in parts
    ]
    return [each[start : start + room] for each in tokens for start in range(0, len(each), room)] or [[]]
"""
_BLOCKS_WITH_EMBEDDINGS = """\
def whole(tokenizer, token):
    \"\"\"A token, and the others of its word.\"\"\"
    word, added, found = tokenizer.convert_ids_to_tokens(token), tokenizer.added_tokens_encoder, [token]
    while word in {tokens} and f"{{word}}_{{len(found)}}" in added:
        found.append(added[f"{{word}}_{{len(found)}}"])
    return found


def blocks(tokenizer, parts):
    \"\"\"The tokens of a text with their weights, as many at a time as its encoder reads; no word is cut.\"\"\"
    room, found = tokenizer.model_max_length - 2, []
    for part in parts:
        block = []
        for words, weight in part:
            for token in tokenizer(words, add_special_tokens=False).input_ids:
                word = [(each, weight) for each in whole(tokenizer, token)]
                if len(block) + len(word) > room:
                    found.append(block)
                    block = []
                block = block + word
        found += [block] if block else []
    return found or [[]]
"""

_NAMES = ("prompt", "negative_prompt")
_PLAIN_READERS = "[(pipe.tokenizer, pipe.text_encoder)]"
_BOTH_READERS = "[(pipe.tokenizer, pipe.text_encoder), (pipe.tokenizer_2, pipe.text_encoder_2)]"


def words(text: str, made: Made) -> str:
    """What a pipeline is told that reads it as it is."""
    text = with_tokens(text, made.plan.embeddings)
    return words_of(parse(text)) if made.plan.weights is not None else text


def lines(made: Made, way: Way, *, empty_is_zero: bool) -> str:
    """Those that encode both texts; "" where the pipeline does the same. `empty_is_zero`: as the model was made."""
    texts = _texts(made, way)
    if not way.encoders or not _is_needed(made, texts):
        return ""
    is_zero = len(texts) == 2 and made.image.negative_prompt == "" and empty_is_zero
    return _LINES.format(
        blocks=_blocks(made),
        readers=_BOTH_READERS if way.encoders == 2 else _PLAIN_READERS,
        numbers=_numbers(made.plan.clip_skip, way),
        weighed=_weighed(made.plan.weights),
        texts="\n".join(f"{name} = {_written(parts)}" for name, parts in texts.items()),
        names=", ".join(texts) + ("," if len(texts) == 1 else ""),
        embedded="\n".join(_embedded(name, is_zero=is_zero) for name in texts),
    )


def arguments(made: Made, way: Way) -> dict[str, str]:
    """Those of the call, in place of the texts."""
    names = list(_texts(made, way))
    given = {f"{name}_embeds": f"{name}_embeds" for name in names}
    if way.encoders == 2:
        given |= {_pooled(name): _pooled(name) for name in names}
    return given


def _texts(made: Made, way: Way) -> dict[str, tuple[Part, ...]]:
    """The second one where the first is guided by it."""
    is_guided = way.negative and (made.plan.guidance_scale or 0) > 1
    said = [made.image.prompt, made.image.negative_prompt][: 1 + is_guided]
    read = parse if made.plan.weights is not None else plain
    return {name: read(with_tokens(text, made.plan.embeddings)) for name, text in zip(_NAMES, said, strict=False)}


def _blocks(made: Made) -> str:
    """How a text is cut."""
    tokens = tuple(token(each.name) for each in made.plan.embeddings)
    return _BLOCKS_WITH_EMBEDDINGS.format(tokens=tokens) if tokens else _BLOCKS


def _is_needed(made: Made, texts: dict[str, tuple[Part, ...]]) -> bool:
    blocks = made.tokens.get("blocks")
    is_long = blocks > 1 if isinstance(blocks, int) else _may_be_long(made, texts)
    return made.plan.clip_skip is not None or is_long or not all(map(is_unweighted, texts.values()))


def _may_be_long(made: Made, texts: dict[str, tuple[Part, ...]]) -> bool:
    return bool(made.plan.embeddings) or any(
        len(words_of(parts).encode("utf-8", "replace")) > SURELY_ONE_BLOCK for parts in texts.values()
    )


def _weighed(way: str | None) -> str:
    """How words weigh. Raises DarkroomError for a way that is not known."""
    if way is None:
        return ""
    if way not in WEIGHTS:
        raise DarkroomError(
            f"How words weigh as {way} is not known here.", hint="Ask the Darkroom that made the picture."
        )
    return (_NORM if way == NORM else _WITHOUT) + _SCALED


def _numbers(clip_skip: int | None, way: Way) -> str:
    """Which layer is read: SDXL's pipeline leaves the last one out, the other's normalises what it takes."""
    if way.encoders == 2:
        return f"said.hidden_states[-{2 + (clip_skip or 0)}]"
    if clip_skip is None:
        return "said.last_hidden_state"
    return f"getattr(encoder, 'text_model', encoder).final_layer_norm(said.hidden_states[-{1 + clip_skip}])"


def _written(parts: tuple[Part, ...]) -> str:
    return repr([[(piece.text, piece.weight) for piece in part] for part in parts])


def _embedded(name: str, *, is_zero: bool) -> str:
    if name == "negative_prompt" and is_zero:
        return "\n".join(f"{each} = torch.zeros_like({_of_prompt(each)})" for each in (f"{name}_embeds", _pooled(name)))
    return f"{name}_embeds, {_pooled(name)} = embed({name})"


def _pooled(name: str) -> str:
    return {"prompt": "pooled_prompt_embeds", "negative_prompt": "negative_pooled_prompt_embeds"}[name]


def _of_prompt(argument: str) -> str:
    return argument.removeprefix("negative_")
