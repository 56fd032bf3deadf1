import ctypes
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from darkroom.disk import files, reading
from darkroom.disk.files import Disk
from darkroom.disk.reading import SourceUnreadable
from darkroom.testing.faults import CountingDisk

DISK = Disk()


class Failing(Disk):
    """Fails at one kind of effect."""

    def __init__(self, kind: str, code: int = errno.ENOSPC) -> None:
        self.kind, self.code = kind, code

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if kind == self.kind:
            raise OSError(self.code, os.strerror(self.code), os.fspath(path))
        yield


def errno_of(call: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what the test is about
        call()
    return caught.value.errno


# Reading -------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_with_its_status(tmp_path: Path) -> None:
    (tmp_path / "cat.json").write_bytes(b"{}")
    data, status = DISK.read(tmp_path / "cat.json", limit=100)
    assert (data, status.st_size) == (b"{}", 2)


def test_no_more_is_read_than_tells_that_it_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 5000)
    assert len(DISK.read(tmp_path / "big", limit=10)[0]) == 11


def _make_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _make_socket(path: Path) -> None:
    os.mknod(path, 0o140600)


@pytest.mark.parametrize(
    ("make", "code"),
    [(_make_link, errno.ELOOP), (os.mkfifo, errno.EINVAL), (os.mkdir, errno.EINVAL), (_make_socket, errno.ENXIO)],
)
def test_what_is_no_regular_file_is_refused_at_once(make: Callable[[Path], None], code: int, tmp_path: Path) -> None:
    make(tmp_path / "cat.json")
    assert errno_of(lambda: DISK.read(tmp_path / "cat.json", limit=10)) == code


@pytest.mark.parametrize("change", [b"longer than before", b"{'"], ids=["another size", "the same size"])
def test_a_file_that_changes_while_it_is_read_is_not_believed(
    change: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cat.json"
    path.write_bytes(b"{}")
    os.utime(path, ns=(0, 0))

    def slowly(handle: int, limit: int) -> bytes:
        data = os.read(handle, limit)
        path.write_bytes(change)
        return data

    monkeypatch.setattr(reading, "_read_all", slowly)
    assert errno_of(lambda: DISK.read(path, limit=100)) == errno.EAGAIN


# A folder that stays itself ------------------------------------------------------------------------------------------


def test_an_anchored_folder_stays_itself_when_a_link_takes_its_name(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inbox" / "alice", tmp_path / "outside"
    inside.mkdir(parents=True)
    outside.mkdir()
    (outside / "cat.json").write_text("secret")
    (inside / "cat.json").write_text("mine")
    with DISK.anchored(tmp_path / "inbox", "alice") as place:
        inside.rename(tmp_path / "inbox" / "moved")
        inside.symlink_to(outside)
        assert DISK.read(place / "cat.json", limit=10)[0] == b"mine"
        DISK.rename(place / "cat.json", place / ".cat.json.taken")
        DISK.write(place / "new", b"1")
    assert sorted(os.listdir(outside)) == ["cat.json"]
    assert sorted(os.listdir(tmp_path / "inbox" / "moved")) == [".cat.json.taken", "new"]


@pytest.mark.parametrize("folder", ["alice", "alice/deep", "bob/alice"])
def test_no_part_of_an_anchored_folder_may_be_a_link(folder: str, tmp_path: Path) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "inbox" / "bob").mkdir(parents=True)
    for link in ("alice", "bob/alice"):
        (tmp_path / "inbox" / link).symlink_to(tmp_path / "outside")

    def enter() -> None:
        with DISK.anchored(tmp_path / "inbox", folder):
            pass

    assert errno_of(enter) in (errno.ELOOP, errno.ENOTDIR)


def test_no_handle_is_left_open_whether_there_is_such_a_folder_or_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    with DISK.anchored(tmp_path, "a/b") as place:
        assert place.is_dir()
    with pytest.raises(FileNotFoundError), DISK.anchored(tmp_path, "a/c/d"):
        pass
    assert os.listdir("/proc/self/fd") == before


# Writing -------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_the_old_bytes_or_the_new_ones_never_others(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    versions = [bytes([letter]) * 20_000 for letter in b"ab"]
    DISK.write(path, versions[0])
    ended = threading.Event()

    def write() -> None:
        for number in range(60):
            DISK.write(path, versions[number % 2], durable=False)
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_bytes()}
    while not ended.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(versions)
    assert os.listdir(tmp_path) == ["cat.json"]


@pytest.mark.parametrize("kind", ["write", "rename"])
def test_a_write_that_fails_leaves_the_old_bytes_and_nothing_else(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    DISK.write(path, b"old")
    assert errno_of(lambda: Failing(kind).write(path, b"new")) == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["cat.json"]


def test_a_full_disk_leaves_the_old_bytes_and_nothing_else(tmp_path: Path) -> None:
    class Full(Disk):
        @staticmethod
        def _write(path: Path, data: bytes, mode: int, *, synced: bool = True, for_all: bool = False) -> None:
            path.write_bytes(data[:1])
            raise OSError(errno.ENOSPC, "full")

    DISK.write(tmp_path / "cat.json", b"old")
    assert errno_of(lambda: Full().write(tmp_path / "cat.json", b"new")) == errno.ENOSPC
    assert (tmp_path / "cat.json").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["cat.json"]


def test_what_a_crash_left_under_the_temporary_name_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    with pytest.raises(KeyboardInterrupt):
        _crashing_before_the_rename().write(path, b"half")
    assert len(os.listdir(tmp_path)) == 1
    DISK.write(path, b"whole")
    assert os.listdir(tmp_path) == ["cat.json"]


def _crashing_before_the_rename() -> Disk:
    class Crashing(Disk):
        @contextmanager
        def effect(self, kind: str, path: Path) -> Iterator[None]:
            if kind == "rename":
                raise KeyboardInterrupt
            yield

    return Crashing()


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to(path.parent / "precious"),
        lambda path: path.hardlink_to(path.parent / "precious"),
    ],
    ids=["fifo", "link", "hard link"],
)
def test_a_trap_under_the_temporary_name_is_not_walked_into(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    precious = tmp_path / "precious"
    precious.write_text("mine")
    make(files._temporary_for(path))
    DISK.write(path, b"1")
    assert path.read_bytes() == b"1"
    assert precious.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["cat.json", "precious"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x"])
def test_a_file_of_any_name_can_be_written(name: str, tmp_path: Path) -> None:
    DISK.write(tmp_path / name, b"1")
    DISK.refresh(tmp_path / name, b"22")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {name: b"22"}


def test_a_file_is_private_where_that_is_asked_for(tmp_path: Path) -> None:
    DISK.write(tmp_path / "kept", b"1", mode=0o600)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent / "theirs")])
def test_rights_are_taken_from_no_device_and_through_no_link_to_a_file(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"x")
    path = tmp_path / "ours"
    make(path)
    for each in (theirs, path):
        each.chmod(0o666)
    Disk().close_to_others(path)
    assert {stat.S_IMODE(each.stat().st_mode) for each in (theirs, path)} == {0o666}
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(folder)
    Disk().close_to_others(tmp_path / "link")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_of_two_that_create_the_same_file_one_wins(tmp_path: Path) -> None:
    DISK.create_exclusive(tmp_path / "owner.json", b"first")
    with pytest.raises(FileExistsError):
        DISK.create_exclusive(tmp_path / "owner.json", b"second")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"owner.json": b"first"}


# Renaming ------------------------------------------------------------------------------------------------------------


class Libc:
    """A C library on a file system that has no RENAME_NOREPLACE."""

    def __init__(self, code: int) -> None:
        self.code = code

    def renameat2(self, *arguments: object) -> int:
        ctypes.set_errno(self.code)
        return -1


@pytest.fixture(params=[0, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP], ids=["has it", "EINVAL", "ENOSYS", "ENOTSUP"])
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With RENAME_NOREPLACE, and without."""
    if request.param:
        monkeypatch.setattr(files, "_libc", Libc(request.param))


@pytest.mark.usefixtures("file_system")
def test_a_folder_takes_a_free_name(tmp_path: Path) -> None:
    (tmp_path / ".id.part").mkdir()
    (tmp_path / ".id.part" / "cat-1.png").write_bytes(b"png")
    DISK.rename_new(tmp_path / ".id.part", tmp_path / "cat")
    assert os.listdir(tmp_path) == ["cat"]
    assert os.listdir(tmp_path / "cat") == ["cat-1.png"]


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize(
    "make", [os.mkdir, _make_link, lambda path: path.write_text("mine"), lambda path: path.symlink_to("nowhere")],
    ids=["empty folder", "link", "file", "dangling link"],
)  # fmt: skip
def test_a_name_that_is_taken_even_by_an_empty_folder_is_left_alone(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (tmp_path / ".id.part").mkdir()
    make(tmp_path / "cat")
    before = (tmp_path / "cat").lstat()
    with pytest.raises(FileExistsError):
        DISK.rename_new(tmp_path / ".id.part", tmp_path / "cat")
    assert (tmp_path / "cat").lstat().st_ino == before.st_ino
    assert (tmp_path / ".id.part").is_dir()


@pytest.mark.usefixtures("file_system")
def test_renaming_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DISK.rename_new(tmp_path / "nothing", tmp_path / "cat")


def test_another_error_of_a_rename_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_libc", Libc(errno.EIO))
    (tmp_path / "a").mkdir()
    assert errno_of(lambda: DISK.rename_new(tmp_path / "a", tmp_path / "b")) == errno.EIO
    assert (tmp_path / "a").is_dir()


# Removing, making, copying -------------------------------------------------------------------------------------------


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    DISK.remove(tmp_path / "nothing")
    DISK.remove_tree(tmp_path / "nothing")


def test_a_tree_is_removed_without_following_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("1")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_text("1")
    (tmp_path / "tree" / "link").symlink_to(tmp_path / "outside")
    DISK.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert os.listdir(tmp_path / "outside") == ["precious"]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to(path.parent / "outside"), lambda path: path.touch()])
def test_a_link_or_a_file_in_place_of_a_tree_is_removed_alone(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("1")
    make(tmp_path / "tree")
    DISK.remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(tmp_path / "outside") == ["precious"]


def test_a_folder_is_made_with_its_parents_and_an_existing_one_is_fine(tmp_path: Path) -> None:
    for _ in range(2):
        DISK.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OSError, match=r"a"):
        DISK.make_folder(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


def test_a_copy_is_equal_and_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(os.urandom(3 << 20))
    DISK.copy_new(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == (tmp_path / "source").read_bytes()
    (tmp_path / "other").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    DISK.copy_new(tmp_path / "source", tmp_path / "link")
    assert (tmp_path / "other").read_bytes() == b"mine"
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES])
def test_a_share_that_cannot_sync_a_folder_is_used_all_the_same(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    DISK.sync_folder(tmp_path)


def test_a_disk_that_fails_to_sync_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    assert errno_of(lambda: DISK.sync_folder(tmp_path)) == errno.EIO


def test_what_has_to_outlive_a_power_cut_is_synced_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name))
    DISK.write(tmp_path / "a", b"1")
    DISK.write(tmp_path / "b", b"1", durable=False)
    DISK.refresh(tmp_path / "c", b"1")
    DISK.create(tmp_path / "d", b"1")
    DISK.copy_new(tmp_path / "d", tmp_path / "e")
    with DISK.handle_on(tmp_path / "d") as (handle, _):
        DISK.copy_from(handle, tmp_path / "f", limit=10)
    assert synced == [".a.part", tmp_path.name, ".b.part", "d", "e", "f"]


# Every change is an effect -------------------------------------------------------------------------------------------


def test_every_change_passes_through_an_effect_in_the_order_that_survives_a_power_cut(tmp_path: Path) -> None:
    disk = CountingDisk()
    disk.make_folder(tmp_path / "f")
    disk.create(tmp_path / "f" / "a", b"1")
    disk.write(tmp_path / "f" / "b", b"1")
    disk.refresh(tmp_path / "f" / "c", b"1")
    disk.rename(tmp_path / "f" / "a", tmp_path / "f" / "d")
    disk.rename_new(tmp_path / "f" / "b", tmp_path / "f" / "e")
    disk.remove(tmp_path / "f" / "e")
    assert disk.effects == [
        ("mkdir", "f"), ("sync", tmp_path.name),
        ("write", "a"),
        ("write", ".b.part"), ("rename", "b"), ("sync", "f"),
        ("write", ".c.part"), ("rename", "c"),
        ("rename", "d"), ("sync", "f"),
        ("rename", "e"), ("sync", "f"),
        ("remove", "e"), ("sync", "f"),
    ]  # fmt: skip


def test_an_error_below_an_anchored_folder_tells_the_folders_name(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    disk = Disk()
    with (
        pytest.raises(FileNotFoundError) as caught,
        disk.anchored(tmp_path, "a/b") as place,
        disk.anchored(place, "") as inner,
    ):
        disk.rename(inner / "cat", inner / "dog")
    assert (caught.value.filename, caught.value.filename2) == (str(tmp_path / "a/b/cat"), str(tmp_path / "a/b/dog"))


def test_a_copy_tells_whether_its_source_or_its_target_is_in_trouble(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with pytest.raises(SourceUnreadable, match="source: No such file"):
        Disk().copy_new(source, tmp_path / "copy")
    source.mkdir()
    with pytest.raises(SourceUnreadable, match="source: Is a directory"):
        Disk().copy_new(source, tmp_path / "copy")
    with pytest.raises(FileNotFoundError) as caught:
        Disk().copy_new(Path(__file__), tmp_path / "nowhere" / "copy")
    assert not isinstance(caught.value, SourceUnreadable)
