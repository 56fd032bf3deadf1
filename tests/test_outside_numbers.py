"""What the outside world says in numbers and texts: a file's time, an inode, a mount, a marker, a name of any bytes."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darkroom.disk import folders, mounts
from darkroom.disk.files import Disk
from darkroom.disk.folder_state import Remembered
from darkroom.disk.folders import Folder, look
from darkroom.disk.mounts import kind_of
from darkroom.inbox.owner import Owner
from darkroom.request.inputs import Bundle
from darkroom.spool.answer import Answer, State
from darkroom.spool.record import Record, Stage
from darkroom.spool.records import Spool
from darkroom.spool.storable import number, stored, text
from darkroom.testing.world import World
from tests.inbox_box import Box

YEAR_2300_S = 10_413_792_000
ANY_NUMBER = st.integers() | st.integers(-(2**70), 2**70)
ANY_TEXT = st.text(st.characters(codec=None, categories=None)) | st.binary().map(os.fsdecode)
FILE_NAME = st.binary(min_size=1, max_size=200).filter(
    lambda raw: not {0, 0x2F} & set(raw) and raw not in (b".", b"..")
)


@contextmanager
def memory() -> Iterator[Path]:
    """A folder where fsync costs nothing and any time is known, if there is one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def spool() -> Iterator[Spool]:
    with memory() as folder:
        spool = Spool(Path(folder, "state"), disk=Disk())
        yield spool
        spool.close()


# Whatever is stored comes back ---------------------------------------------------------------------------------------


@given(ANY_NUMBER | ANY_TEXT)
def test_whatever_is_made_storable_comes_back_as_it_was(value: int | str) -> None:
    made = stored(value)
    assert (number(made) if isinstance(value, int) else text(made)) == value


@settings(max_examples=30)
@given(ANY_NUMBER, ANY_NUMBER, FILE_NAME)
def test_a_record_of_any_time_and_any_name_comes_back_and_is_known_again(
    mtime_ns: int, other_ns: int, raw: bytes
) -> None:
    path = os.fsdecode(raw) + ".json"
    with spool() as state:
        with state.transaction():
            name = state.name_for(path.removesuffix(".json"), ".json")
            answer = Answer("A", name, "", State.QUEUED)
            record = state.add(
                Record(
                    id="A",
                    path=path,
                    name=name,
                    stage=Stage.ACCEPTED,
                    bundle=Bundle("00"),
                    mtime_ns=mtime_ns,
                    answer=answer,
                )
            )
        assert state.get("A") == record
        assert state.same_file(path, "00", mtime_ns) == record
        assert (state.same_file(path, "00", other_ns) is None) == (other_ns != mtime_ns)


@settings(max_examples=30)
@given(st.builds(Remembered, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_NUMBER))
def test_a_folder_on_any_mount_is_remembered_as_it_is(folder: Remembered) -> None:
    with spool() as state:
        with state.transaction():
            state.remember_folder("inbox", folder)
        assert state.folder("inbox") == folder


# Any line, any file --------------------------------------------------------------------------------------------------

WORD = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")) | st.sampled_from(
    [b"1", b"2", b"-", b"/", b"/mnt", b"/mnt/x", b"\\040", b"\\777", b"8:1", b"\xb2", b"9" * 5000]
)
LINE = st.lists(WORD, max_size=14).map(b" ".join)
KERNEL_LIKE = st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([b"/", b"/mnt", b"/mnt/x", b""])).map(
    lambda row: b"%d %d 8:1 %s %s rw - ext4 /dev/x rw" % (row[0], row[1], row[2] or b"/", row[2])
)


@given(st.lists(LINE | KERNEL_LIKE, max_size=12))
def test_any_mount_table_has_an_answer(lines: list[bytes]) -> None:
    with memory() as folder:
        table = Path(folder, "mountinfo")
        table.write_bytes(b"\n".join(lines))
        for path in ("/", "/mnt/x/y", "/srv"):
            kind_of(Path(path), mount_table=table)
            mounts.expected_mount(Path(path), mount_table=table, fstab=table, unit_folders=())


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, categories=None)),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)


@settings(max_examples=30)
@given(st.binary(max_size=200) | JSON_VALUE.map(lambda value: json.dumps({"folder": value}).encode()))
def test_any_marker_is_ours_or_none_and_can_be_remembered(content: bytes) -> None:
    with memory() as root, spool() as state:
        (Path(root) / ".darkroom").mkdir()
        (Path(root) / ".darkroom" / "folder.json").write_bytes(content)
        (Path(root) / ".darkroom" / "adopt").touch()
        folder = Folder(Path(root), None, disk=Disk())
        assert folder.check()
        assert folder.remembered is not None
        with state.transaction():
            state.remember_folder("inbox", folder.remembered)
        assert state.folder("inbox") == folder.remembered
        found = look(Path(root), first_time=False)
        assert found is not None
        assert found.marker == folder.remembered.marker


@settings(max_examples=30)
@given(
    st.binary(max_size=200)
    | st.dictionaries(st.sampled_from(["instance", "counter", "host", "pid"]), JSON_VALUE).map(
        lambda value: json.dumps(value).encode()
    )
    | st.just(b'{"instance": "x", "counter": ' + b"9" * 3900 + b"}")
)
def test_any_claim_to_an_inbox_is_taken_over_in_time(content: bytes) -> None:
    with memory() as root:
        (Path(root) / ".darkroom").mkdir()
        (Path(root) / ".darkroom" / "owner.json").write_bytes(content)
        now_s = [0.0]
        owner = Owner(Path(root), "me", disk=Disk(), clock=lambda: now_s[0], pid=1)
        owner.keep()
        now_s[0] += 31.0
        assert owner.keep() == ""


# Through the doors ---------------------------------------------------------------------------------------------------


class StrangeStatus:
    """What `os.stat` gives, with another inode, size of device or time."""

    def __init__(self, real: os.stat_result, **changes: int) -> None:
        self._real, self._changes = real, changes

    def __getattr__(self, name: str) -> Any:
        return self._changes.get(name, getattr(self._real, name))


@settings(max_examples=25)
@given(st.integers(0, 2**64 - 1), ANY_NUMBER, ANY_NUMBER)
def test_an_inbox_whose_files_say_any_numbers_is_served(inode: int, mtime_ns: int, ctime_ns: int) -> None:
    changes = {"st_ino": inode, "st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns}
    with memory() as root, pytest.MonkeyPatch.context() as patched:
        for name in ("stat", "lstat", "fstat"):
            real = getattr(os, name)
            patched.setattr(os, name, lambda *a, real=real, **k: StrangeStatus(real(*a, **k), **changes))
        patched.setattr(folders, "_stat", lambda path: StrangeStatus(Path(path).stat(), **changes))
        box = Box(Path(root, "inbox"))
        box.drop("cat.json")
        (drop,) = box.look().drops
        assert box.inbox.folder.remembered is not None
        assert (drop.mtime_ns, box.inbox.folder.remembered.inode) == (mtime_ns, inode)


@pytest.mark.parametrize("when", ["before it is seen", "after it was accepted", "incomplete"])
@pytest.mark.parametrize("seconds", [YEAR_2300_S, -YEAR_2300_S])
def test_a_file_from_another_century_is_rendered_like_any_other(when: str, seconds: int) -> None:
    with memory() as root:
        world = World(root)
        world.start()
        world.drop("cat.json", b'{"prompt":' if when == "incomplete" else b'{"prompt": "a cat"}')
        if when == "after it was accepted":
            world.drop("dog.json", {"prompt": "a dog"})
            world.step(0.0)
        os.utime(world.inbox / "cat.json", (seconds, seconds))
        for _ in range(15):
            world.step()
        answer = world.answer("cat")
        assert answer is not None
        assert answer["state"] == ("refused" if when == "incomplete" else "done")
        world.die()
        world.start()
        world.step()
        world.die()


def test_a_bind_mount_of_a_folder_in_another_encoding_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = mounts.Mount(source="nas:/B\udcfcro", kind="ext4", root="/B\udcfcro", mount_point="/")
    monkeypatch.setattr(mounts, "kind_of", lambda _: mount)
    world = World(tmp_path)
    for _ in range(2):
        world.start()
        world.step()
        remembered = world.running.spool.folder("inbox")
        assert remembered is not None
        assert remembered.root == "/B\udcfcro"
        world.die()
