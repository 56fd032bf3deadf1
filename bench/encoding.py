"""What long prompts cost to encode: so many blocks, over as many times one block by the pipeline itself.

    python bench/encoding.py [--blocks 1,2,4,8] [--pairs 9]

Stable Diffusion 1.5's text encoder in its published size, with random weights, in float32; its other parts are tiny,
as none of them is used. By hand: the pipeline's `encode_prompt` of what fits in one block. Darkroom: the prompt and
the negative prompt of a request, block by block, both anew each time. The two take turns. Then one request of four
pictures is encoded, and the encoder's calls are counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from figures import Row, machine, median, noise, show
from full_size import END, NOISE, clip_l, tokenizer
from rig import DAEMON
from transformers import CLIPTextModel

sys.path.insert(0, str(DAEMON))

from darkroom.render.blocks import Blocks
from darkroom.request.plan import Plan, images_of

GOAL = 1.1
TOKENS = 75  #: of a block, without its begin and end


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", default="1,2,4,8", help="how many (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=9, help="pairs of measurements (default: %(default)s)")
    args = parser.parse_args()
    pipeline = light_pipeline()
    words = words_of(pipeline)
    rows = [row(pipeline, words, int(blocks), args.pairs) for blocks in args.blocks.split(",")]
    return show("encoding", [*rows, calls_row(pipeline, words)], measured_on=machine())


def light_pipeline() -> Any:
    """Only its text encoder has its full size."""
    channels = {"block_out_channels": (32,), "norm_num_groups": 8}
    pipeline: Any = StableDiffusionPipeline(
        vae=AutoencoderKL(down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",), **channels),
        text_encoder=CLIPTextModel(clip_l()),
        tokenizer=tokenizer(END),
        unet=UNet2DConditionModel(
            down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), cross_attention_dim=768, **channels
        ),
        scheduler=PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.fixed_device = torch.device("cpu")
    return pipeline


def words_of(pipeline: Any) -> list[str]:
    """Words of one token each."""
    known = sorted(word for word in pipeline.tokenizer.get_vocab() if word.endswith("</w>") and word[:-4].isalpha())
    return [word.removesuffix("</w>") for word in known[:TOKENS]]


def text_of(words: list[str], blocks: int) -> str:
    """A text that fills so many blocks."""
    return " ".join(words[:TOKENS] * blocks)


def row(pipeline: Any, words: list[str], blocks: int, pairs: int) -> Row:
    """The time of so many blocks over that of one block by the pipeline, for each block."""
    one, plan = plan_of(words, 1).images[0], plan_of(words, blocks)
    ratios = []
    for _ in range(pairs + 1):
        by_hand_s = timed(lambda: encoded_by_hand(pipeline, one.prompt, one.negative_prompt))
        ours_s = timed(lambda: encoded(pipeline, plan))
        ratios.append(ours_s / by_hand_s / blocks)
    ratios = ratios[1:]  # the first one pages the weights in
    figure = f"{median(ratios):.2f} × {blocks} ({noise(ratios)})"
    return Row(
        f"{blocks} block{'s' * (blocks > 1)}, over one block by hand",
        figure,
        f"≤ {GOAL} × {blocks}",
        median(ratios) <= GOAL,
    )


def encoded_by_hand(pipeline: Any, prompt: str, negative_prompt: str) -> None:
    """One block of each side."""
    with torch.inference_mode():
        pipeline.encode_prompt(prompt, torch.device("cpu"), 1, True, negative_prompt)


def encoded(pipeline: Any, plan: Plan) -> None:
    """A request's first picture, with nothing kept from before."""
    if Blocks(pipeline).arguments(plan, plan.images[0], plan.images[0].negative_prompt) is None:
        raise AssertionError("what is weighed is not left to the pipeline")


def plan_of(words: list[str], blocks: int) -> Plan:
    """So many blocks of each side; `clip_skip` has one block encoded by us, too."""
    images = images_of(text_of(words, blocks), text_of(words[::-1], blocks), seed=0, num_images=4)
    return Plan(
        model="sd15", images=images, width=512, height=512, num_inference_steps=30, guidance_scale=7.5,
        scheduler="pndm", clip_skip=0,
    )  # fmt: skip


def timed(run: Callable[[], None]) -> float:
    """CPU seconds of this process: on a busy machine they are less noisy."""
    begin_s = time.process_time()
    run()
    return time.process_time() - begin_s


def calls_row(pipeline: Any, words: list[str]) -> Row:
    """How often the encoder is called for four pictures: once for each of the two texts."""
    calls: list[int] = []
    hook = pipeline.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    blocks, plan = Blocks(pipeline), plan_of(words, 2)
    for image in plan.images:
        blocks.arguments(plan, image, image.negative_prompt)
    hook.remove()
    return Row("the encoder's calls for four pictures", str(len(calls)), "2", len(calls) == 2)


if __name__ == "__main__":
    sys.exit(main())
