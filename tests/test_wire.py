"""What the service and a renderer tell each other survives its way as a line; what is no message is known as such."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.executor import port
from darkroom.executor.wire import STOP, Stop, decode, encode, of_life
from darkroom.request.plan import ImagePlan, Plan, Upscale, enlarging

KINDS = (*get_args(port.Command), *get_args(port.Event))
EVENTS = get_args(port.Event)
MOST = 20  #: examples of each kind

#: Names of files may hold bytes that are no text: the halves of pairs that stand for them are text to us.
LETTERS = st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
TEXTS = st.text(LETTERS, max_size=8)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    Path: TEXTS.map(Path),
    type(None): st.none(),
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a type allows, but for whose event it is: that is not sent."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        own = [field.name for field in fields(hint) if field.name not in ("executor", "life", "upscale")]
        each = st.builds(hint, **{name: _field(hints[name]) for name in own})
        return each | _enlarging() if hint is Plan else each
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return _of_generic(get_origin(hint), get_args(hint))


def _enlarging() -> st.SearchStrategy[Plan]:
    """Plans of which nothing is painted: they have nothing else to say."""
    texts, qualities = any_of(str), any_of(int | None)
    return st.builds(enlarging, st.builds(Upscale, texts, any_of(float)), texts, format=texts, quality=qualities)


def _field(hint: Any) -> st.SearchStrategy[Any]:
    """A plan has at least one picture."""
    if hint == tuple[ImagePlan, ...]:
        return st.lists(any_of(ImagePlan), min_size=1, max_size=3).map(tuple)
    return any_of(hint)


def _of_generic(origin: Any, of: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    if origin in (Union, types.UnionType):
        return st.one_of(*map(any_of, of))
    if origin is Mapping:
        return st.dictionaries(any_of(of[0]), any_of(of[1]), max_size=3)
    assert origin is tuple
    if of[-1] is ...:
        return st.lists(any_of(of[0]), max_size=3).map(tuple)
    return st.tuples(*map(any_of, of))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=MOST)
def test_every_message_is_the_same_at_the_other_end(kind: Any, data: st.DataObject) -> None:
    message = data.draw(any_of(kind))
    line = encode(message)
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert line.isascii()
    assert decode(line) == message


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=MOST)
def test_whose_an_event_is_is_known_by_the_one_who_hears_it_and_is_not_sent(kind: Any, data: st.DataObject) -> None:
    event = data.draw(any_of(kind))
    of_another = of_life(event, "cuda:7", 12)
    assert (of_another.executor, of_another.life) == ("cuda:7", 12)
    assert encode(of_another) == encode(event)
    assert of_life(decode(encode(event)), "cuda:7", 12) == of_another  # type: ignore[arg-type]


def test_the_end_in_order_is_a_line_too() -> None:
    assert isinstance(decode(STOP), Stop)
    assert STOP.endswith(b"\n")


# What is no message -------------------------------------------------------------------------------------------------


def read(line: bytes) -> None:
    """Whoever listens counts on these three."""
    with suppress(ValueError, KeyError, TypeError):
        decode(line)


@given(st.binary(max_size=40))
def test_bytes_that_are_no_message_are_known_as_such(line: bytes) -> None:
    read(line)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"null", b"3", b'"Load"', b"[]", b"{}", b'{"kind": []}', b'{"kind": null}', b'{"kind": "load"}',
        b'{"kind": "Load"}', b'{"kind": "Load", "model": "a", "more": 1}', b'{"kind": "Cancel", "key": 3}',
        b'{"kind": "Cancel", "key": ["a", 1]}', b'{"kind": "Stepped", "key": {"id": "a", "number": 1}, "progress": 1}',
        b'{"kind": "Render", "attempt": null}', b'{"kind": "Loaded", "model": "a"}', b"[" * 100_000, b"1" * 5_000,
        b'{"kind": "Tried", "model": "a", "scheduler": "b", "impossible": {"c": [[1, Infinity]]}}',
    ],
)  # fmt: skip
def test_a_line_that_is_no_message_raises(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        decode(line)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=MOST)
def test_a_message_with_something_else_in_it_is_known_as_such(kind: Any, data: st.DataObject) -> None:
    message = json.loads(encode(data.draw(any_of(kind))))
    holder = message
    while True:
        keys = sorted(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(holder[key], dict | list) and holder[key] and data.draw(st.booleans())):
            break
        holder = holder[key]
    holder[key] = data.draw(JSON)
    read(json.dumps(message).encode())
