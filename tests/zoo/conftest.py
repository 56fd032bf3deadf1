"""There are more families and upscalers with more packages, in PYTHONPATH:

`pip install --no-deps --target FOLDER torchvision spandrel einops`.
"""

from __future__ import annotations

import torch

try:
    import torchvision  # noqa: F401 - see below
except ModuleNotFoundError:
    pass
except RuntimeError:
    # It was made for another torch than ours, which has no CUDA, and its compiled part does not load. Nothing that
    # renders calls the operators of that part, but they have to be there.
    LIBRARY = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
