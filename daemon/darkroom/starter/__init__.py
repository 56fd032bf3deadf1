"""The starter model: a small text-to-image model that ships with Darkroom.

Importing this package costs nothing: torch is imported by ``darkroom.starter.autoencoder`` and by the training only.
"""

from __future__ import annotations

from pathlib import Path

#: The shipped model: a folder that ``StableDiffusionPipeline.from_pretrained`` loads once
#: ``darkroom.starter.autoencoder`` has been imported.
MODEL_DIR: Path = Path(__file__).resolve().parent / "model"
