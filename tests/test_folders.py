import errno
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroom.disk import folders, mounts
from darkroom.disk.files import Disk
from darkroom.disk.folder_state import Remembered
from darkroom.disk.folders import Folder, Found, Verdict, judge, look
from darkroom.testing.faults import CountingDisk

KNOWN = Remembered(marker="m1", source="nas:/export", fs_type="nfs4", root="/", inode=7)
PATH = Path("/mnt/nas/inbox")


def found(marker: str | None = "m1", **changes: Any) -> Found:
    return replace(Found(marker, "nas:/export", "nfs4", "/", 7, network=True), **changes)


OTHER_MOUNTS: list[dict[str, Any]] = [
    {"source": "/dev/sda1"},
    {"fs_type": "ext4"},
    {"root": "/srv"},
    {"inode": 8},
    {"source": "/dev/sda1", "fs_type": "ext4", "root": "/srv", "inode": 8},
]


@pytest.mark.parametrize(
    ("remembered", "now", "verdict"),
    [
        (None, None, Verdict.AWAY),
        (KNOWN, None, Verdict.AWAY),
        (None, found(None), Verdict.ADOPT),
        (None, found("m2"), Verdict.ADOPT),
        (None, found(None, expected_mount="fstab mounts it"), Verdict.AWAY),
        (None, found("m2", expected_mount="fstab mounts it"), Verdict.AWAY),
        (None, found(None, expected_mount="fstab mounts it", adopt=True), Verdict.ADOPT),
        (KNOWN, found("m1"), Verdict.PRESENT),
        (KNOWN, found("m2"), Verdict.AWAY),
        (KNOWN, found("m2", network=False), Verdict.MARK),
        (KNOWN, found("m2", adopt=True), Verdict.ADOPT),
        (KNOWN, found(None), Verdict.MARK),
        (KNOWN, found(None, adopt=True), Verdict.ADOPT),
        *((KNOWN, found("m1", **other), Verdict.PRESENT) for other in OTHER_MOUNTS),
        *((KNOWN, found("m2", **other), Verdict.AWAY) for other in OTHER_MOUNTS),
        *((KNOWN, found(None, **other), Verdict.AWAY) for other in OTHER_MOUNTS),
        *((KNOWN, found(None, adopt=True, **other), Verdict.ADOPT) for other in OTHER_MOUNTS),
    ],
)
def test_whether_it_is_the_folder_that_we_know(
    remembered: Remembered | None, now: Found | None, verdict: Verdict
) -> None:
    judgement = judge(remembered, now, PATH)
    assert judgement.verdict is verdict
    if verdict is Verdict.AWAY:
        assert str(PATH) in judgement.why, "a person is told which folder, and why"
        assert now is None or "darkroom adopt" in judgement.why


# With real folders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


def marker_of(path: Path) -> str:
    data: dict[str, str] = json.loads((path / ".darkroom" / "folder.json").read_bytes())
    return data["folder"]


def test_a_new_folder_is_adopted_marked_and_remembered(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    assert folder.check()
    assert folder.remembered is not None
    assert folder.remembered.marker == marker_of(path)
    assert folder.remembered.inode == path.stat().st_ino
    state = folder.state("inbox")
    assert (state.role, state.away, state.news) == ("inbox", "", "never seen before")
    assert folder.check()
    assert folder.state("inbox").news == ""


def test_a_folder_that_others_marked_is_adopted_with_its_marker(path: Path) -> None:
    Folder(path, None, disk=Disk()).check()
    marker = marker_of(path)
    other = Folder(path, None, disk=Disk())
    assert other.check()
    assert other.remembered is not None
    assert other.remembered.marker == marker == marker_of(path)


def test_a_marker_that_a_mirror_deleted_is_written_again(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    before = folder.remembered
    shutil.rmtree(path / ".darkroom")
    assert folder.check()
    assert "mirror" in folder.news
    assert folder.remembered == before
    assert marker_of(path) == before.marker if before else False


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"folder": 7}', b'{"folder": ""}', b"[" * 4000, b"\xff"])
def test_a_torn_marker_counts_as_none(content: bytes, path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    (path / ".darkroom" / "folder.json").write_bytes(content)
    seen = look(path, first_time=False)
    assert seen is not None
    assert seen.marker is None
    assert folder.check()
    assert folder.remembered is not None
    assert marker_of(path) == folder.remembered.marker


def test_between_two_checks_one_question_tells_whether_it_is_the_very_folder_that_was_judged(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    assert not folder.is_as_judged()
    folder.check()
    assert folder.is_as_judged()
    path.rename(path.with_name("moved"))
    assert not folder.is_as_judged()
    path.mkdir()
    assert not folder.is_as_judged()
    assert not folder.check()
    assert not folder.is_as_judged()  # it is there, and away
    path.rmdir()
    path.write_text("no folder")
    assert not folder.is_as_judged()
    path.unlink()
    path.with_name("moved").rename(path)
    assert not folder.is_as_judged()  # nobody has looked at it since
    assert folder.check()
    assert folder.is_as_judged()


def test_a_folder_that_goes_away_is_told_and_known_again_when_it_is_back(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    path.rename(path.with_name("moved"))
    assert not folder.check()
    assert "Mount or create it" in folder.away
    path.mkdir()
    assert not folder.check()
    assert "darkroom adopt" in folder.away
    assert list(path.iterdir()) == [], "nothing is touched in it"
    path.rmdir()
    path.with_name("moved").rename(path)
    assert folder.check()
    assert (folder.away, folder.state("inbox").news) == ("", "never seen before")
    assert folder.state("inbox").news == ""


def test_a_person_may_say_that_another_folder_is_the_right_one(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    before = folder.remembered
    path.rename(path.with_name("moved"))
    (path / ".darkroom").mkdir(parents=True)
    (path / ".darkroom" / "adopt").touch()
    assert folder.check()
    assert folder.news == "a person adopted it"
    assert not (path / ".darkroom" / "adopt").exists()
    assert folder.remembered is not None
    assert before is not None
    assert folder.remembered.inode != before.inode
    assert folder.remembered.marker == marker_of(path) != before.marker


@pytest.mark.parametrize("place", [".darkroom", ".darkroom/wishes"])
def test_a_person_may_say_so_where_wishes_go(place: str, path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    (path / place / "adopt").touch()
    assert folder.check()
    assert folder.news == "a person adopted it"
    assert not (path / place / "adopt").exists()
    (path / place / "pause").touch()
    assert folder.is_asked("pause")
    (path / place / "pause").unlink()
    assert not folder.is_asked("pause")


@pytest.mark.parametrize(
    ("mode", "group", "others"), [(0o2775, True, False), (0o777, True, True), (0o755, False, False)]
)
def test_people_write_their_wishes_and_nothing_else_of_ours(mode: int, group: bool, others: bool, path: Path) -> None:
    path.chmod(mode)
    (path / ".darkroom").mkdir()
    (path / ".darkroom").chmod(0o777)
    assert Folder(path, None, disk=Disk()).check()
    assert not (path / ".darkroom").stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    wishes = (path / ".darkroom" / "wishes").stat().st_mode
    assert (bool(wishes & stat.S_IWGRP), bool(wishes & stat.S_IWOTH)) == (group, others)


def test_our_folder_is_kept_from_others_where_the_service_may_not_name_the_set_group_id_bit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under systemd's RestrictSUIDSGID, in an inbox that gives its group to what is made in it."""
    real = os.chmod

    def restricted(path: Any, mode: int, **more: Any) -> None:
        if mode & (stat.S_ISUID | stat.S_ISGID):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(path, mode, **more)

    path.chmod(0o2775)
    before = os.umask(0o002)
    try:
        monkeypatch.setattr(os, "chmod", restricted)
        assert Folder(path, None, disk=Disk()).check()
    finally:
        os.umask(before)
    assert not (path / ".darkroom").stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert not (path / ".darkroom" / "folder.json").stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert (path / ".darkroom" / "wishes").stat().st_mode & stat.S_IWGRP


def test_a_share_that_knows_no_rights_is_used_as_it_is(path: Path) -> None:
    class NoRights(Disk):
        @contextmanager
        def effect(self, kind: str, path: Path) -> Iterator[None]:
            if kind == "chmod":
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            yield

    path.chmod(0o777)
    assert Folder(path, None, disk=NoRights()).check()


def test_a_strange_marker_in_the_very_folder_that_we_know_is_replaced(path: Path) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    ours = marker_of(path)
    (path / ".darkroom" / "folder.json").write_text('{"darkroom": 1, "folder": "forged"}')
    assert folder.check()
    assert "that of another folder" in folder.news
    assert marker_of(path) == ours


def test_a_folder_that_waits_for_its_mount_is_not_adopted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "expected_mount", lambda _: "fstab mounts it, and nothing is mounted there")
    folder = Folder(path, None, disk=Disk())
    assert not folder.check()
    assert "waits for its mount" in folder.away
    assert list(path.iterdir()) == []
    monkeypatch.setattr(mounts, "expected_mount", lambda _: None)
    assert folder.check()


def test_that_others_write_behind_our_back_is_read_from_the_mount(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()
    assert not folder.state("inbox").network
    mount = mounts.Mount(source="nas:/export", kind="nfs4", root="/", mount_point="/")
    monkeypatch.setattr(mounts, "kind_of", lambda _: mount)
    folder.check()
    state = folder.state("inbox")
    assert (state.network, state.kind, state.away) == (True, "nfs4", "")


@pytest.mark.parametrize("kind", ["file", "fifo", "link to a file"])
def test_what_is_no_folder_is_away(kind: str, path: Path) -> None:
    path.rmdir()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        target = path if kind == "file" else path.with_name("target")
        target.touch()
        if target != path:
            path.symlink_to(target)
    assert look(path, first_time=True) is None
    assert not Folder(path, None, disk=Disk()).check()


def test_a_link_to_a_folder_is_that_folder(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))
    assert Folder(path, None, disk=Disk()).check()
    assert marker_of(path.with_name("real"))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC])
def test_a_folder_that_cannot_be_marked_is_away_and_says_why(code: int, path: Path) -> None:
    class Failing(CountingDisk):
        def _before(self, number: int, kind: str, path: Path) -> None:
            raise OSError(code, os.strerror(code))

    folder = Folder(path, None, disk=Failing())
    assert not folder.check()
    assert os.strerror(code) in folder.away


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.EACCES])
def test_a_share_that_errs_is_away_until_it_does_not(code: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(path, None, disk=Disk())
    folder.check()

    def fail(_: object) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", fail)
        assert not folder.check()
    assert os.strerror(code) in folder.away
    assert folder.check()


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(place))


@pytest.mark.parametrize("target", ["../../theirs.json", "folder.json", "nowhere"])
def test_a_marker_that_is_a_link_is_replaced_and_not_followed(path: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "theirs.json").write_text('{"folder": "m2"}')
    (path / ".darkroom").mkdir()
    marker = path / ".darkroom" / "folder.json"
    marker.symlink_to(target)
    folder = Folder(path, None, disk=Disk())
    assert folder.check()
    assert not marker.is_symlink()
    assert json.loads(marker.read_bytes())["folder"] not in ("m2", None)
    assert (tmp_path / "theirs.json").read_text() == '{"folder": "m2"}'
    assert not (path / ".darkroom" / "nowhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _socket], ids=["fifo", "folder", "socket"])
def test_what_is_no_file_and_has_the_markers_name_stops_nobody(path: Path, make: Callable[[Path], None]) -> None:
    (path / ".darkroom").mkdir()
    make(path / ".darkroom" / "folder.json")
    assert Folder(path, None, disk=Disk()).check()
    assert (path / ".darkroom" / "folder.json").is_file()


def test_a_link_in_place_of_our_folder_is_away_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    outside, path = tmp_path / "outside", tmp_path / "inbox"
    outside.mkdir()
    path.mkdir()
    (path / ".darkroom").symlink_to(outside)
    folder = Folder(path, None, disk=Disk())
    assert not folder.check()
    assert folder.away.endswith("Its .darkroom must be a folder of its own, and not a link.")
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("moment", ["_read_marker", "look"])
def test_a_folder_that_is_replaced_in_the_middle_of_a_look_is_not_taken_for_the_one_we_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path, moved = tmp_path / "inbox", tmp_path / "moved"
    path.mkdir()
    folder = Folder(path, None, disk=Disk())
    folder.check()
    if moment == "look":
        (path / ".darkroom" / "folder.json").unlink()  # a mirror has deleted it: it is to be written again
    step = getattr(folders, moment)

    def swapped(*arguments: Any, **keywords: Any) -> Any:
        monkeypatch.undo()
        before = step(*arguments, **keywords) if moment == "look" else None
        path.rename(moved)
        path.mkdir()
        return before or step(*arguments, **keywords)

    monkeypatch.setattr(folders, moment, swapped)
    assert not folder.check()
    assert "another folder has just come in its place" in folder.away
    assert list(path.iterdir()) == []
    path.rmdir()
    moved.rename(path)
    assert folder.check()
