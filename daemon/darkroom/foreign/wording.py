r"""What prompts of other programs say beside words: weights, LoRAs, and what only they understand.

A1111's web UI reads `(word:1.2)`, `((word))`, `[word]`, `\(`, `<lora:name:0.8>`, `BREAK`, `AND`, `[a:b:0.5]`, `[a|b]`;
ComfyUI and Fooocus read the round brackets and the escapes; InvokeAI reads `(word)1.2`, `word++` and `word--`.
"""

from __future__ import annotations

import re

from darkroom.foreign.rules import text
from darkroom.foreign.sheet import Rule, Sheet

_NETWORK = re.compile(r"\s*<(?:lora|lyco|hypernet):[^<>\n]*>", re.IGNORECASE)
_LORA = re.compile(r"<(?:lora|lyco):([^:<>]+)(?::\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*)?>", re.IGNORECASE)
#: As ComfyUI and Fooocus name one: by the file, with or without its folder and ending.
_EMBEDDING = re.compile(
    r"\bembedding:\s*(?:[^\s,:()]*[/\\])?([A-Za-z0-9](?:[\w.+-]*?[\w+-])??)(?:\.(?:safetensors|pt|bin))?(?![\w+-]|\.\w)"
)
_ESCAPED = re.compile(r"\\([()\[\]])")
_ROUND = re.compile(r"(?<!\\)\([^()]*\)")
_SQUARE = re.compile(r"(?<!\\)\[[^\[\]]*\]|\bBREAK\b")
_COMPEL = re.compile(r"(?:\([^()\n]{1,60}\)|\b\w+)(?:\+{1,9}|-{2,9})(?![\w+-])|\([^()\n]{1,60}\)[0-9.]{1,5}")
_BARE_SQUARE = re.compile(r"(?<!\\)([\[\]])")
#: What only A1111's web UI understands, and why it is nothing here.
_ONLY_THERE = (
    (re.compile(r"(?<!\\)\[[^\[\]]*:[^\[\]]*:[^\[\]]*\]"), "words that change while it is painted have no counterpart"),
    (re.compile(r"(?<!\\)\[[^\[\]]*\|[^\[\]]*\]"), "words that alternate have no counterpart"),
    (re.compile(r"\bAND\b"), "it is read as a word: prompts can't be composed here"),
)


def prompt(key: str, *, square: bool = False) -> Rule:
    """A prompt with weights in round brackets; `square`: also what else A1111's web UI understands."""

    def rule(sheet: Sheet, where: str, value: object) -> None:
        if not isinstance(value, str):
            text(key)(sheet, where, value)
            return
        words, networks = without_networks(value)
        for network in networks:
            _say_network(f"{where} {network}", network, sheet)
        for embedding in dict.fromkeys(found[0] for found in _EMBEDDING.finditer(words)):
            sheet.neutral(f"{where} {embedding}", "an embedding is used by its word, where the configuration has it")
        words = _EMBEDDING.sub(r"\1", words)
        text(key)(sheet, where, words)
        sheet.prompts[key] = square
        if _ROUND.search(words) or (square and _SQUARE.search(words)):
            sheet.becomes(f"{where} (word:1.2)", {"prompt_syntax": "weighted"})
        for pattern, why in _ONLY_THERE if square else ():
            for found in dict.fromkeys(match[0] for match in pattern.finditer(words)):
                sheet.lost(f"{where} {found}", why)

    return rule


def own(key: str) -> Rule:
    """A prompt of Darkroom's own, in which nothing weighs; behind it stand the LoRAs."""

    def rule(sheet: Sheet, where: str, value: object) -> None:
        words, networks = without_networks(value) if isinstance(value, str) else (value, [])
        for network in networks:
            _say_network(f"{where} {network}", network, sheet)
        text(key)(sheet, where, words)

    return rule


def _say_network(where: str, network: str, sheet: Sheet) -> None:
    """`<lora:name:0.8>`; with a number for each part of the model it has no counterpart."""
    if (found := _LORA.fullmatch(network)) is None:
        sheet.lost(where, "it is left out: `loras` has a name and one weight of each")
        return
    sheet.adds_lora(where, found[1].strip(), float(found[2]) if found[2] else None)


def compel(key: str) -> Rule:
    """A prompt with InvokeAI's weights, which stand behind words: nothing here reads them."""

    def rule(sheet: Sheet, where: str, value: object) -> None:
        text(key)(sheet, where, value)
        for found in dict.fromkeys(_COMPEL.findall(value)) if isinstance(value, str) else ():
            sheet.lost(f"{where} {found}", 'it is read as it stands: "prompt_syntax": "weighted" says (word:1.2)')

    return rule


def without_networks(prompt: str) -> tuple[str, list[str]]:
    """The prompt without its `<lora:…>`, and these, each once."""
    networks = dict.fromkeys(found[0].strip() for found in _NETWORK.finditer(prompt))
    return (_NETWORK.sub("", prompt).strip(" ,") if networks else prompt), list(networks)


def add_styles(sheet: Sheet) -> None:
    """What styles don't want, in the request's own words: with `default_negative` off, theirs would not count."""
    named = sheet.request.get("style", [])
    unwanted = [sheet.target.styles.get(name, "") for name in ([named] if isinstance(named, str) else named)]
    if any(unwanted):
        said = [sheet.request.get("negative_prompt", ""), *unwanted]
        sheet.request["negative_prompt"] = ", ".join(text.strip(" ,") for text in said if text.strip(" ,"))


def settle(sheet: Sheet) -> None:
    """Where brackets weigh, they do in both prompts; elsewhere each is a character, and needs nothing before it."""
    weighs = sheet.request.get("prompt_syntax") == "weighted"
    for key, square in sheet.prompts.items():
        words = sheet.request.get(key, "")
        if not weighs:
            words = _ESCAPED.sub(r"\1", words)
        elif not square:
            words = _BARE_SQUARE.sub(r"\\\1", words)
        if words:
            sheet.request[key] = words
