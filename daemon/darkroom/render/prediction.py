"""What a model predicts, where nothing that is written down tells: one step of it does."""

from __future__ import annotations

from typing import Any

import torch

#: Nearly all noise, in which a model that predicts noise sees just this.
LATE = 999
GREY = 0.5
#: What it answers, less what it was given: about nothing for noise, far below for velocity.
VELOCITY_IS_BELOW = -1.0


def prediction_of(pipeline: Any) -> str:
    """Returns "epsilon" or "v_prediction", for a model of Stable Diffusion 2.x."""
    unet = pipeline.unet
    shape = (1, unet.config.in_channels, 8, 8)
    noise = torch.full(shape, GREY, device=pipeline.fixed_device, dtype=unet.dtype)
    with torch.inference_mode():
        text, _ = pipeline.encode_prompt("", pipeline.fixed_device, 1, do_classifier_free_guidance=False)
        answer = unet(noise, LATE, encoder_hidden_states=text).sample
    return "v_prediction" if float((answer - noise).float().mean()) < VELOCITY_IS_BELOW else "epsilon"
