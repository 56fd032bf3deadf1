"""A request and its pictures come, change and go in any order: what is told is what lies there; nothing is stuck."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.disk import mounts
from darkroom.inbox.drops import Drop
from tests.inbox_box import NETWORK_SETTLE_S, SETTLE_S, Box, sha256
from tests.pictures_made import JPEG, PNG

ASKED = json.dumps({"prompt": "a cat", "init_image": "a.png", "mask_image": "b.png"}).encode()
PLACES = ("a.png", "b.png", "cat.files/a.png", "cat.files/b.png")
CONTENTS = (PNG, JPEG, PNG[:60], b"", b"this is not a picture at all, but a text")
WHOLE = (PNG, JPEG)

writes = st.tuples(st.just("write"), st.sampled_from(PLACES), st.sampled_from(CONTENTS))
removals = st.tuples(st.just("remove"), st.sampled_from(("cat.json", *PLACES)), st.just(b""))
requests = st.tuples(st.just("write"), st.just("cat.json"), st.sampled_from((ASKED, ASKED[:30])))
looks = st.tuples(st.just("look"), st.sampled_from(("0.2", "1", "11", "61")), st.just(b""))


@contextmanager
def file_system(*, network: bool) -> Iterator[None]:
    kind_of, kind = mounts.kind_of, "nfs4" if network else "ext4"
    with patch.object(mounts, "kind_of", lambda path: replace(kind_of(path), kind=kind)):
        yield


def effective(box: Box, name: str) -> bytes | None:
    """The bytes that count for a name."""
    places = (box.path / "cat.files" / name, box.path / name)
    return next((place.read_bytes() for place in places if place.is_file()), None)


def check(box: Box, drop: Drop) -> None:
    assert [each.name for each in drop.inputs] == ["a.png", "b.png"]
    for each in drop.inputs:
        raw = effective(box, each.name)
        assert raw in WHOLE
        assert each.sha256 == sha256(raw or b"")


@given(actions=st.lists(st.one_of(writes, requests, removals, looks, looks), max_size=25), network=st.booleans())
@settings(max_examples=30, deadline=None)
def test_whatever_comes_in_whatever_order(actions: list[tuple[str, str, bytes]], network: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, file_system(network=network):
        box = Box(Path(folder) / "inbox")
        box.look()
        for verb, what, raw in actions:
            place = box.path / what
            if verb == "look":
                for drop in box.look(float(what)).drops:
                    check(box, drop)
            elif verb == "remove":
                place.unlink(missing_ok=True)
            else:
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(raw)
        for name in ("a.png", "b.png", "cat.files/a.png", "cat.files/b.png"):
            place = box.path / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(PNG)
        (box.path / "cat.json").write_bytes(ASKED + b"\n")
        box.inbox.hint("cat.json")  # of one that is known, an event tells
        drops = [drop for _ in range(5) for drop in box.look(NETWORK_SETTLE_S if network else SETTLE_S).drops]
        assert [drop.path for drop in drops] == ["cat.json"]
        check(box, drops[0])
        assert (box.path / "cat.json").read_bytes() == ASKED + b"\n"


def test_on_a_network_file_system_a_picture_counts_when_it_was_read_twice_a_look_apart(box: Box) -> None:
    with file_system(network=True):
        box.drop("a.png", PNG)
        box.drop("b.png", JPEG)
        box.drop("cat.json", ASKED)
        assert box.look().drops == ()
        assert box.look(0.2).drops == ()
        assert box.look(0.2).drops == ()
        assert "waits for a.png" in dict(box.look(0.0).not_taken)["cat.json"]
        (drop,) = box.look(1.0).drops
        check(box, drop)


def test_a_picture_is_judged_once_for_each_version_that_is_asked_for(box: Box) -> None:
    box.drop("cat.json", ASKED)
    box.drop("a.png", PNG)
    for _ in range(3):
        box.look()
    box.drop("b.png", PNG)
    (drop,) = box.look().drops
    check(box, drop)
    assert box.inbox.take("cat.json", "0" * 26, sha256(ASKED), drop.inputs).inputs == drop.inputs
    assert box.kept_inputs == {"0" * 26: {"a.png": PNG, "b.png": PNG}}
