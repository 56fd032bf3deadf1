"""Which of the tests with real clients run beside each other, and which a change has to pass."""

from pathlib import Path

import pytest

from tests.real import part

NAMES = sorted(path.name for path in Path(part.__file__).parent.glob("test_*.py"))


def test_every_file_is_in_the_table_and_no_other() -> None:
    assert sorted(part.FILES) == NAMES
    assert {*part.TOGETHER, *part.APART} <= set(NAMES)
    assert not set(part.TOGETHER) & set(part.APART)


def test_a_file_runs_one_after_another_with_those_that_it_cannot_run_beside() -> None:
    assert part.group("test_pages.py") == part.group("test_systemd.py") != part.group("test_ray.py")
    four = ("test_systemd.py", "test_pages.py", "test_ray_systemd.py", "test_ray_pages.py")
    assert part.group_s("test_pages.py") == sum(part.seconds(name) for name in four)
    assert part.group_s("test_ray.py") == part.seconds("test_ray.py")


@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        ((), 0),
        (("test_ray.py",), 420),
        (("test_habits.py", "test_rsync.py", "test_soak.py"), 47.5),
        (("test_systemd.py", "test_pages.py", "test_soak.py"), 305),
    ],
)
def test_they_take_as_long_as_the_longest_group_or_as_all_of_them_at_two_a_time(
    names: tuple[str, ...], seconds: float
) -> None:
    assert part.together_s(names) == seconds


def test_what_is_chosen_fits_and_begins_with_what_the_change_is_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        part, "changed_files", lambda: ["daemon/darkroom/cluster/bridge.py", "daemon/darkroom/clock.py"]
    )
    part.main()
    said = capsys.readouterr()
    chosen = [Path(name).name for name in said.out.split()]
    assert chosen[0] == "test_clocks.py"
    assert part.together_s(chosen) <= part.BUDGET_S
    assert "test_ray.py" in said.err  # it does not fit at all
    assert set(chosen) | set(said.err.partition(": ")[2].split()) == set(NAMES)
