"""Six families through the worker, by the checks that every family passes: the others are in `tests/zoo`."""

from __future__ import annotations

import pytest

from tests.family_checks import FamilyChecks

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


@pytest.mark.parametrize("builder", FAMILIES, scope="class")
class TestSixFamilies(FamilyChecks):
    """One of each kind: two of the classic ones, and four that differ in what they read and are guided by."""

    FAMILIES = FAMILIES
