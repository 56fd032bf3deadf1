"""What docs/models.md says of the size of well-known models is what their configurations say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from darkroom.testing.published import MODELS, numbers_of

# Within diffusers: Chroma's network.
pytestmark = pytest.mark.filterwarnings("ignore:.*`FluxPosEmbed` is deprecated:FutureWarning")

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
ROW = re.compile(
    r"^\| (?P<name>[^|]+) \| (?P<parts>\d+\.\d\d \| \d+\.\d\d \| \d+\.\d\d) \| (?P<weights>\d+ GB) \|", re.MULTILINE
)
TOLD = {row["name"]: (row["parts"], row["weights"]) for row in ROW.finditer(DOCS.read_text(encoding="utf-8"))}


def test_every_model_is_told_of() -> None:
    assert TOLD.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_as_large_as_its_configurations_say(name: str) -> None:
    numbers = numbers_of(name)
    assert TOLD[name] == (" | ".join(f"{each / 1e9:.2f}" for each in numbers), f"{2 * sum(numbers) / 1e9:.0f} GB")
