"""Whether the weights of a text encoder are those that its configuration describes: as many layers, each of them whole.

What any other part lacks is known when it is loaded (`render.parts`); this is known before, as soon as somebody looks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

#: Classes whose layers are all alike → the key that tells how many there are.
_NUMBER_OF_LAYERS = {
    "CLIPTextModel": "num_hidden_layers",
    "CLIPTextModelWithProjection": "num_hidden_layers",
    "T5EncoderModel": "num_layers",
    "UMT5EncoderModel": "num_layers",
}
_LAYER = re.compile(r"(?:.*\.)?(?:layers|block)\.(\d{1,9})\.(.+)")


def fault_of_layers(tensors: Iterable[str], config: Mapping[str, Any]) -> str:
    """What a part's tensors (by name) lack; "" where nothing is known to be missing."""
    classes = config.get("architectures")
    key = _NUMBER_OF_LAYERS.get(str(classes[0])) if isinstance(classes, list) and classes else None
    number = config.get(key) if key else None
    if not isinstance(number, int) or isinstance(number, bool):
        return ""
    layers: dict[int, set[str]] = defaultdict(set)
    for tensor in tensors:
        if (found := _LAYER.fullmatch(tensor)) and not tensor.startswith("decoder."):
            layers[int(found[1])].add(found[2])
    there = sum(1 for layer in layers if layer < number)
    if there < number:
        return f"have {there} of the {number} layers that its configuration describes"
    often = Counter(name for layer in layers.values() for name in layer)
    common = {name for name, times in often.items() if 2 * times > len(layers)}
    lacking = (
        (layer, min(common - names)) for layer, names in sorted(layers.items()) if layer < number and common - names
    )
    return next((f"lack {name} in layer {layer}" for layer, name in lacking), "")
