"""LoRAs under the names that a network's authors gave: what they add is what they add to the file of the authors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from darkroom.models.families import BY_KEY
from darkroom.models.layouts import Layout
from darkroom.models.lora_names import by_authors
from darkroom.render.lora_spelling import _by_authors, respelled
from darkroom.render.tensors import converted
from darkroom.testing import zoo
from darkroom.testing.zoo import checkpoints

#: Within diffusers, of Chroma's network.
pytestmark = pytest.mark.filterwarnings("ignore:.*`FluxPosEmbed` is deprecated:FutureWarning")

ALPHA, RANK = 2.0, 4

#: Builder → its family, what turns its network back, the form of that.
NAMED: dict[str, tuple[str, Callable[[nn.Module], checkpoints.Tensors], str]] = {
    "sd3": ("stable-diffusion-3", checkpoints.sd3, "sd3"),
    "flux_dev": ("flux", checkpoints.flux, "flux"),
    "flux_schnell": ("flux-schnell", checkpoints.flux, "flux"),
    "chroma": ("chroma", checkpoints.flux, "flux"),
}


def flat(layer: str) -> tuple[str, str, str]:
    """As kohya's trainer for these networks writes it."""
    path = f"lora_unet_{layer.replace('.', '_')}"
    return f"{path}.lora_down.weight", f"{path}.lora_up.weight", f"{path}.alpha"


def pointed(layer: str) -> tuple[str, str, str]:
    """As ComfyUI's trainers write it."""
    path = f"diffusion_model.{layer}"
    return f"{path}.lora_A.weight", f"{path}.lora_B.weight", f"{path}.alpha"


@pytest.mark.parametrize("spelling", [flat, pointed])
@pytest.mark.parametrize("name", NAMED)
def test_it_adds_to_each_layer_what_it_adds_in_the_file_of_the_authors(
    name: str, spelling: Callable[[str], tuple[str, str, str]]
) -> None:
    key, turn, form = NAMED[name]
    torch.manual_seed(0)
    network: Any = zoo.BUILDERS[name]().transformer
    theirs = turn(network)
    lora: dict[str, torch.Tensor] = {}
    merged = dict(theirs)
    for layer in [key.removesuffix(".weight") for key, each in theirs.items() if each.ndim == 2 and ".weight" in key]:
        gives, takes = theirs[f"{layer}.weight"].shape
        down, up = torch.randn(RANK, takes), torch.randn(gives, RANK)
        lora |= dict(zip(spelling(layer), (down, up, torch.tensor(ALPHA)), strict=True))
        merged[f"{layer}.weight"] = theirs[f"{layer}.weight"] + ALPHA / RANK * up @ down
    layout = Layout("", form, "", dict(network.config))
    before, after = converted(theirs, layout), converted(merged, layout)
    found = respelled(lora, {"transformer": network}, by_authors(BY_KEY[key]))
    added = {
        path.removeprefix("transformer.").removesuffix(".lora_A.weight"): each
        for path, each in found.tensors.items()
        if path.endswith(".lora_A.weight")
    }
    changed = {name.removesuffix(".weight") for name in before if not torch.equal(before[name], after[name])}
    assert (found.missing, set(added)) == (0, changed)
    for layer, down in added.items():
        ours = found.tensors[f"transformer.{layer}.lora_B.weight"] @ down
        torch.testing.assert_close(ours, after[f"{layer}.weight"] - before[f"{layer}.weight"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "key"), [("flux2_klein", "flux2-klein"), ("krea2", "krea2")])
def test_names_of_authors_become_what_diffusers_makes_of_them(name: str, key: str) -> None:
    pipeline: Any = zoo.BUILDERS[name]()
    pairs, sizes = by_authors(BY_KEY[key]), dict[str, tuple[int, int]]()
    for path, layer in pipeline.transformer.named_modules():
        theirs = _by_authors(path, pairs)
        if isinstance(layer, nn.Linear) and path not in (theirs, "norm_out.linear"):  # where it takes shift for scale
            sizes[theirs] = sizes.get(theirs, (0, 0))[0] + layer.out_features, layer.in_features
    lora = {
        tensor: each
        for layer, (gives, takes) in sizes.items()
        for tensor, each in zip(pointed(layer)[:2], (torch.randn(RANK, takes), torch.randn(gives, RANK)), strict=True)
    }
    wanted = type(pipeline).lora_state_dict(dict(lora))
    found = respelled(lora, {"transformer": pipeline.transformer}, pairs)
    assert (found.missing, found.tensors.keys()) == (0, wanted.keys())
    assert [key for key, each in found.tensors.items() if not torch.equal(each, wanted[key])] == []


def test_lumina_2_has_queries_keys_and_values_of_different_widths() -> None:
    network: Any = zoo.BUILDERS["lumina2"]().transformer
    attention = network.layers[0].attn
    widths = [each.out_features for each in (attention.to_q, attention.to_k, attention.to_v)]
    down, up = torch.randn(RANK, attention.to_q.in_features), torch.randn(sum(widths), RANK)
    keys = pointed("layers.0.attention.qkv")[:2]
    found = respelled(dict(zip(keys, (down, up), strict=True)), {"transformer": network}, by_authors(BY_KEY["lumina2"]))
    for letter, piece in zip("qkv", up.split(widths), strict=True):
        assert torch.equal(found.tensors[f"transformer.layers.0.attn.to_{letter}.lora_B.weight"], piece)
        assert torch.equal(found.tensors[f"transformer.layers.0.attn.to_{letter}.lora_A.weight"], down)


def test_layers_of_networks_that_are_not_there_are_counted() -> None:
    network: Any = zoo.BUILDERS["sana"]().transformer
    tensors = {key: torch.zeros(RANK, 8) for each in ("lora_te3_x", "lora_unet_nobody") for key in
               (f"{each}.lora_down.weight", f"{each}.lora_up.weight")}  # fmt: skip
    found = respelled(tensors, {"transformer": network}, ())
    assert (found.tensors, found.missing) == ({}, 2)
