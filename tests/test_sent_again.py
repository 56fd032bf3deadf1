"""The same file sent again, by tools that write its bytes first and set its time then."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from darkroom.disk.files import Disk
from darkroom.testing.world import STYLES, World

SENT_NS = 1_600_000_000_000_000_000


def drop(world: World, *, mtime_ns: int) -> Path:
    world.drop("cat.json", {"prompt": "a cat"})
    path = world.inbox / "cat.json"
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def results(world: World) -> list[str]:
    return sorted(path.parent.name for path in world.outbox.glob("*/answer.json"))


def test_a_file_sent_again_whose_time_is_set_last_is_not_rendered_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    drop(world, mtime_ns=SENT_NS)
    world.live()
    world.start()
    path = drop(world, mtime_ns=SENT_NS + 77)
    world.step(0.5)
    assert path.exists()
    os.utime(path, ns=(SENT_NS, SENT_NS))
    world.run()
    assert results(world) == ["cat"]
    assert (world.answer("cat") or {})["resent"] == 1
    assert not path.exists()


def test_a_file_that_was_taken_before_its_time_was_set_is_not_rendered_again_when_it_is_sent_with_it(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    drop(world, mtime_ns=int(world.clock.wall_s() * 1e9))
    world.live()
    for _ in range(2):
        drop(world, mtime_ns=SENT_NS)
        world.live()
    assert results(world) == ["cat"]
    assert (world.answer("cat") or {})["resent"] == 2


def test_a_file_that_was_touched_is_rendered_again_a_moment_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    drop(world, mtime_ns=SENT_NS)
    world.live()
    drop(world, mtime_ns=SENT_NS + 77)
    world.live()
    assert results(world) == ["cat", "cat-2"]
    assert "resent" not in (world.answer("cat") or {})


def test_a_file_that_is_touched_again_and_again_is_waited_for_and_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    drop(world, mtime_ns=SENT_NS)
    world.live()
    world.start()
    for number in range(1, 6):
        drop(world, mtime_ns=SENT_NS + number)
        world.step(0.6)
    assert results(world) == ["cat"]
    world.run()
    assert results(world) == ["cat", "cat-2"]


def test_a_file_is_taken_a_moment_after_it_has_come_so_that_its_writer_can_set_its_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.start()
    path = drop(world, mtime_ns=int(world.clock.wall_s() * 1e9))
    world.step(0.05)
    assert ((world.answer("cat") or {})["state"], path.exists()) == ("queued", True)
    os.utime(path, ns=(SENT_NS, SENT_NS))
    world.run()
    drop(world, mtime_ns=SENT_NS)
    world.run()
    assert results(world) == ["cat"]
    assert (world.answer("cat") or {})["resent"] == 1


class Grudging(Disk):
    """Does not let anything be taken, while it is `unwilling`."""

    unwilling = False

    @contextmanager
    def effect(self, kind: str, path: Path) -> Iterator[None]:
        if self.unwilling and path.name.endswith(".taken"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        yield


def test_a_file_sent_again_that_could_not_be_taken_out_is_taken_out_later(tmp_path: Path) -> None:
    world, disk = World(tmp_path), Grudging()
    world.start(disk)
    drop(world, mtime_ns=SENT_NS)
    world.run()
    disk.unwilling = True
    path = drop(world, mtime_ns=SENT_NS)
    for _ in range(3):
        world.step()
    assert path.exists()
    disk.unwilling = False
    world.run()
    assert not path.exists()
    assert (results(world), (world.answer("cat") or {})["resent"]) == (["cat"], 1)


def test_what_failed_through_our_fault_is_rendered_when_the_very_same_file_comes_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.holding = True
    drop(world, mtime_ns=SENT_NS)
    world.start()
    world.step()
    world.step()
    world.die()
    shutil.rmtree(world.state / "requests")
    world.live()
    assert (world.answer("cat") or {})["error"]["code"] == "state_lost"
    world.holding = False
    drop(world, mtime_ns=SENT_NS)
    world.live()
    answer = world.answer("cat") or {}
    assert (answer["state"], answer.get("resent", 0)) == ("done", 0)


def test_a_refusal_that_the_configuration_has_overtaken_is_no_answer_to_the_very_same_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.drop("cat.json", {"prompt": "a cat", "style": "fantasie"})
    os.utime(world.inbox / "cat.json", ns=(SENT_NS, SENT_NS))
    world.live()
    assert (world.answer("cat") or {})["error"]["code"] == "unknown_style"
    (tmp_path / "more.toml").write_text(STYLES + "[styles.fantasie]\nprompt = 'fantasy'\n")
    more: dict[str, Any] = {"styles": str(tmp_path / "more.toml")}
    for settings, state in (({}, "refused"), (more, "done")):
        again = World(tmp_path, **settings)
        again.drop("cat.json", {"prompt": "a cat", "style": "fantasie"})
        os.utime(again.inbox / "cat.json", ns=(SENT_NS, SENT_NS))
        again.live()
        assert (again.answer("cat") or {})["state"] == state
