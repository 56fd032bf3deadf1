"""The loop that anybody would write: the stock pipeline, one picture after the other, saved. Run by throughput.py.

    python bench/by_hand.py MODEL_FOLDER

Each line on standard input is a job, `{"folder": …, "prompts": […], "scheduler": […], "call": {…}}`; each is
answered by a line, `{"wall_s": …, "cpu_s": …}`. The first line of output, `{}`, says that the model is loaded; the
first job warms it up.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import diffusers
import torch


def load(folder: str) -> Any:
    """The stock pipeline, as it is published for this model."""
    if (Path(folder) / "vocabulary.json").exists():
        import darkroom.starter.autoencoder  # noqa: F401, PLC0415 - a class that the starter's files name
    device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, safety_checker=None, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device)


def paint(pipe: Any, job: dict[str, Any]) -> None:
    """Render and save each prompt; picture i has the seed i."""
    for number, prompt in enumerate(job["prompts"]):
        generator = torch.Generator("cpu").manual_seed(number)
        image = pipe(prompt, generator=generator, **job["call"]).images[0]
        image.save(Path(job["folder"]) / f"{number}.png")


def main() -> None:
    """Work until standard input ends."""
    pipe = load(sys.argv[1])
    print("{}", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        name, config = job["scheduler"]
        pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **config)
        began_s, cpu_before_s = time.monotonic(), time.process_time()
        paint(pipe, job)
        taken = {"wall_s": time.monotonic() - began_s, "cpu_s": time.process_time() - cpu_before_s}
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
