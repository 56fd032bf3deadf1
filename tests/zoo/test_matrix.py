"""Tiny pipelines of the true classes through the worker, each family by the same checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing import zoo
from tests.family_checks import FamilyChecks
from tests.subject import Subject, watched

# torch calls numpy's array protocol in a way that numpy deprecates, and classes of diffusers call each other so.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning"),
]

#: Builder → the family that its folder tells.
FAMILIES = {
    "sd15": "stable-diffusion",
    "sd15_pag": "stable-diffusion-pag",
    "sd21": "stable-diffusion",
    "sdxl": "stable-diffusion-xl",
    "sdxl_turbo": "stable-diffusion-xl",
    "sdxl_pag": "stable-diffusion-xl-pag",
    "lcm": "lcm",
    "deepfloyd_if": "if",
    "kandinsky3": "kandinsky3",
    "flux_dev": "flux",
    "flux_schnell": "flux-schnell",
    "flux_kontext": "flux-kontext",
    "flux2_klein": "flux2-klein",
    "flux2": "flux2",
    "chroma": "chroma",
    "bria": "bria",
    "ovis_image": "ovis",
    "sd3": "stable-diffusion-3",
    "sd3_no_t5": "stable-diffusion-3",
    "sd3_pag": "stable-diffusion-3-pag",
    "z_image": "z-image",
    "z_image_turbo": "z-image-turbo",
    "lumina": "lumina",
    "lumina2": "lumina2",
    "aura_flow": "auraflow",
    "cogview4": "cogview4",
    "cogview3plus": "cogview3",
    "qwen_image": "qwenimage",
    "krea2": "krea2",
    "ernie_image": "ernie-image",
    "longcat_image": "longcat-image",
    "pixart_alpha": "pixart-alpha",
    "pixart_sigma": "pixart-sigma",
    "pixart_sigma_pag": "pixart-sigma-pag",
    "sana": "sana",
    "sana_pag": "sana-pag",
    "sana_sprint": "sana-sprint",
    "hunyuan_dit": "hunyuan",
    "hunyuan_dit_pag": "hunyuan-pag",
    "amused": "amused",
}

DESCRIBED = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in FAMILIES if name in zoo.BUILDERS]


@pytest.fixture(scope="module", params=DESCRIBED)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    zoo.build(request.param, folder / "model")
    with watched(Subject(request.param, folder / "model", folder / "work")) as watched_one:
        yield watched_one


@pytest.fixture
def family(subject: Subject) -> str:
    return FAMILIES[subject.name]


class TestEveryFamily(FamilyChecks):
    """Those that are described."""
