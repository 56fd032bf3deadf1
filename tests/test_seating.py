"""Which renderers there are: a table of what was asked for and what is found."""

import pytest

from darkroom.executor import devices
from darkroom.executor.devices import DeviceInfo, likely_devices, visible
from darkroom.service.seating import Place, places, places_beside


@pytest.mark.parametrize(
    ("asked", "per_device", "cores", "expected"),
    [
        (("auto",), 1, 8, [Place("auto", "auto", None)]),
        (("cpu",), 1, 8, [Place("cpu", "cpu", None)]),
        (("cpu",), 2, 8, [Place("cpu/1", "cpu", 4), Place("cpu/2", "cpu", 4)]),
        (("cpu",), 3, 2, [Place("cpu/1", "cpu", 1), Place("cpu/2", "cpu", 1), Place("cpu/3", "cpu", 1)]),
        (("auto",), 2, 8, [Place("auto/1", "auto", 4), Place("auto/2", "auto", 4)]),
        (("cuda:0", "cuda:2"), 1, 8, [Place("cuda:0", "cuda:0", 4), Place("cuda:2", "cuda:2", 4)]),
        (
            ("cuda:1", "cpu"),
            2,
            8,
            [
                Place("cuda:1/1", "cuda:1", 2),
                Place("cuda:1/2", "cuda:1", 2),
                Place("cpu/1", "cpu", 2),
                Place("cpu/2", "cpu", 2),
            ],
        ),
    ],
)
def test_each_device_that_is_asked_for_has_its_renderers(
    asked: tuple[str, ...], per_device: int, cores: int, expected: list[Place]
) -> None:
    assert list(places(asked, per_device, cores)) == expected


@pytest.mark.parametrize(
    ("found", "per_device", "expected"),
    [
        (0, 1, []),  # the processor
        (1, 1, []),
        (1, 2, []),  # both have begun on it
        (3, 1, [Place("cuda:1", "cuda:1", 4), Place("cuda:2", "cuda:2", 4)]),
        (2, 2, [Place("cuda:1/1", "cuda:1", 3), Place("cuda:1/2", "cuda:1", 3)]),
    ],
)
def test_what_auto_finds_beside_its_own_device_has_renderers_too(
    found: int, per_device: int, expected: list[Place]
) -> None:
    assert list(places_beside(found, per_device, 12)) == expected


# What can be told without torch --------------------------------------------------------------------------------------

TWO = [DeviceInfo("cuda:0", "NVIDIA L4", 24 << 30, "GPU-aa11"), DeviceInfo("cuda:1", "NVIDIA T4", 16 << 30, "GPU-bb22")]


@pytest.mark.parametrize(
    ("setting", "titles"),
    [
        (None, ["NVIDIA L4", "NVIDIA T4"]),
        ("0,1", ["NVIDIA L4", "NVIDIA T4"]),
        ("1", ["NVIDIA T4"]),
        ("1, 0", ["NVIDIA T4", "NVIDIA L4"]),
        ("GPU-bb", ["NVIDIA T4"]),
        ("GPU-aa11,GPU-bb22", ["NVIDIA L4", "NVIDIA T4"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["NVIDIA L4"]),
        ("7", []),
        ("MIG-1", []),
    ],
)
def test_a_setting_of_cuda_leaves_some_devices_and_numbers_them_anew(setting: str | None, titles: list[str]) -> None:
    found = visible(TWO, setting)
    assert [device.title for device in found] == titles
    assert [device.name for device in found] == [f"cuda:{index}" for index in range(len(titles))]


@pytest.mark.parametrize(
    ("asked", "found", "expected"),
    [
        (("auto",), TWO, {"cuda:0": "NVIDIA L4", "cuda:1": "NVIDIA T4"}),
        (("auto",), [], {"cpu": "a processor"}),
        (("cpu",), TWO, {"cpu": "a processor"}),
        (("cuda:1",), TWO, {"cuda:1": "NVIDIA T4"}),
        (("cuda:0", "cuda:3", "cpu"), TWO, {"cuda:0": "NVIDIA L4", "cuda:3": None, "cpu": "a processor"}),
    ],
)
def test_what_a_setting_probably_comes_to(
    asked: tuple[str, ...],
    found: list[DeviceInfo],
    expected: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "cuda_devices", lambda: found)
    monkeypatch.setattr(devices, "cpu", lambda: DeviceInfo("cpu", "a processor", None))
    said = likely_devices(asked)
    assert {name: device.title if device is not None else None for name, device in said.items()} == expected


def test_a_line_of_nvidia_smi_is_read() -> None:
    read = devices._cuda_device(2, "NVIDIA GeForce RTX 3060, 12288, GPU-8a")
    assert read == DeviceInfo("cuda:2", "NVIDIA GeForce RTX 3060", 12288 << 20, "GPU-8a")
    assert devices._cuda_device(0, "GRID, of some kind, [N/A], GPU-1").memory_bytes is None
