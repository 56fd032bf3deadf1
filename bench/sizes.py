"""How large well-known models are, reckoned from their configurations: docs/models.md has the table.

    python bench/sizes.py

Every part is made with its true shapes and no weights. In half precision a number is two bytes.
"""

from __future__ import annotations

import sys

from rig import DAEMON

sys.path.insert(0, str(DAEMON))

from darkroom.testing.published import MODELS, numbers_of

HALF_BYTES = 2


def main() -> None:
    """Print them."""
    print("| model | network | text encoders | autoencoder | weights |\n|---|---|---|---|---|")
    for name in MODELS:
        numbers = numbers_of(name)
        parts = " | ".join(f"{each / 1e9:.2f}" for each in numbers)
        print(f"| {name} | {parts} | {HALF_BYTES * sum(numbers) / 1e9:.0f} GB |")


if __name__ == "__main__":
    main()
