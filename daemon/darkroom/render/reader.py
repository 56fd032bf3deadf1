"""How many tokens a text has for a model, and which of its words are not read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from darkroom.errors import ErrorCode, RenderFailed
from darkroom.facts import Tokens
from darkroom.models.family import Family, Reads
from darkroom.render.blocks import Blocks
from darkroom.render.token_limit import special_warning, unread_warning
from darkroom.request.plan import Plan

#: A tokenizer that was never told its limit says some 10^30.
NO_LIMIT = 10**6

#: Stands for a person's words.
WORDS = "{words}"


class Reader:
    """The reader of a pipeline that reads the most."""

    def __init__(self, pipeline: Any, family: Family, blocks: Blocks | None, *, is_taught: bool = False) -> None:
        """`is_taught`: whether some words stand for several tokens, which the pipeline puts in their place."""
        self._blocks = blocks
        self._spelled = pipeline.maybe_convert_prompt if is_taught else lambda text, _: text
        parts = {each: getattr(pipeline, each.tokenizer, None) for each in family.reads}
        there = [(each, part) for each, part in parts.items() if hasattr(_of_words(part), "all_special_tokens")]
        self._tokenizer = _of_words(there[0][1]) if there else None
        self._limit = self._own_words(*there[0]) if there else NO_LIMIT
        self._specials = tuple(self._tokenizer.all_special_tokens) if self._tokenizer is not None else ()

    def read(self, plan: Plan) -> tuple[Tokens, list[str | None]]:
        """The longest prompt's tokens, and what to tell of each text. Raises RenderFailed for one that is refused."""
        prompts = tuple(dict.fromkeys(image.prompt for image in plan.images))
        negatives = tuple(dict.fromkeys(image.negative_prompt for image in plan.images))
        texts = [("prompt", text) for text in prompts] + [("negative prompt", text) for text in negatives]
        specials = [special_warning(what, text, self._specials) for what, text in texts]
        if self._blocks is not None:
            return self._in_blocks(plan, prompts, negatives), specials
        unread = [unread_warning(what, text, self._count, self._limit) for what, text in texts]
        if plan.on_overflow == "refuse" and (cut := next(filter(None, unread), None)):
            hint = 'Shorten it, or leave "on_overflow" out.'
            raise RenderFailed(ErrorCode.PROMPT_TOO_LONG, cut.removesuffix(" Shorten it."), hint=hint)
        return Tokens(max(map(self._count, prompts)), max(map(self._count, negatives)), self._limit), unread + specials

    def _in_blocks(self, plan: Plan, prompts: Iterable[str], negatives: Iterable[str]) -> Tokens:
        assert self._blocks is not None  # noqa: S101 - asked for those alone
        weighed = plan.weights is not None
        counts = [[self._blocks.count(text, weighed=weighed) for text in texts] for texts in (prompts, negatives)]
        most = [max(tokens for tokens, _ in each) for each in counts]
        return Tokens(most[0], most[1], self._limit, max(blocks for each in counts for _, blocks in each))

    def _count(self, text: str) -> int:
        if self._tokenizer is None:
            return 0
        text = self._spelled(text, self._tokenizer)
        return len(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

    def _own_words(self, reads: Reads, part: Any) -> int:
        """How many tokens of a person's own are read: without signs of begin and end, and what is put before them.

        What a chat says after them is cut off first.
        """
        tokenizer = self._tokenizer
        assert tokenizer is not None  # noqa: S101 - it is the one that reads
        limit = reads.tokens or min(tokenizer.model_max_length, NO_LIMIT)
        signs = len(tokenizer("", verbose=False).input_ids)
        if not reads.is_chat:
            return max(1, limit - signs - self._before(reads.before))
        chat = _chat(reads, part, is_plain=part is tokenizer)
        begin = tokenizer.bos_token
        if part is tokenizer or (begin is not None and chat.startswith(begin)):
            signs = 0  # the chat brings them itself
        return max(1, limit - signs - self._before(chat.partition(WORDS)[0]))

    def _before(self, text: str) -> int:
        """How many tokens a text has before another one: a space at its end becomes a part of the next word."""
        return self._count(f"{text}a") - self._count("a")


def _of_words(part: Any) -> Any:
    """The tokenizer; a processor, which also takes pictures, has one."""
    return getattr(part, "tokenizer", part)


def _chat(reads: Reads, part: Any, *, is_plain: bool) -> str:
    """What a chat says before and after WORDS; a processor takes each text as a list of contents."""
    texts = {"system": reads.system, "user": f"{reads.before}{WORDS}"}
    said = [
        {"role": role, "content": text if is_plain else [{"type": "text", "text": text}]}
        for role, text in texts.items()
        if text
    ]
    return str(part.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
