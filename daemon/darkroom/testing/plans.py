"""The one place that makes plans for tests: small, complete, and whatever a test says otherwise."""

from __future__ import annotations

from typing import Any

from darkroom.request.plan import Plan, images_of


def plan(
    *, prompt: str = "a castle", negative_prompt: str = "", seed: int = 7, num_images: int = 1, **values: Any
) -> Plan:
    """A plan; `values` are fields of `Plan`."""
    given: dict[str, Any] = {
        "model": "testcard",
        "width": 64,
        "height": 64,
        "num_inference_steps": 3,
        "guidance_scale": 7.5,
        "scheduler": "euler",
        "images": images_of(prompt, negative_prompt, seed=seed, num_images=num_images),
    }
    return Plan(**given | values)
