"""Six families through the worker, by the checks that every family passes: the others are in `tests/zoo`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing import zoo
from tests.family_checks import FamilyChecks
from tests.subject import Subject, watched

# torch calls numpy's array protocol in a way that numpy deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FAMILIES = {
    "sd15": "stable-diffusion",
    "sdxl": "stable-diffusion-xl",
    "sd3_no_t5": "stable-diffusion-3",
    "flux_schnell": "flux-schnell",
    "z_image": "z-image",
    "pixart_sigma": "pixart-sigma",
}


@pytest.fixture(scope="module", params=FAMILIES)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    zoo.build(request.param, folder / "model")
    with watched(Subject(request.param, folder / "model", folder / "work")) as watched_one:
        yield watched_one


@pytest.fixture
def family(subject: Subject) -> str:
    return FAMILIES[subject.name]


class TestSixFamilies(FamilyChecks):
    """One of each kind: two of the classic ones, and four that differ in what they read and are guided by."""
