"""The lines that load the LoRAs of a picture."""

from __future__ import annotations

from darkroom.errors import DarkroomError
from darkroom.explain.files import ModelFiles
from darkroom.explain.loading import written
from darkroom.explain.made import Made

#: Where diffusers does not know the names of a file's layers, these find them in the networks.
_RESPELLED = '''
PARTS = [
    ("text_encoder_2", r"lora_te2_|text_encoder_2\\.|text_encoders\\.clip_g\\.transformer\\."),
    ("text_encoder", r"lora_te1?_|text_encoder\\.|text_encoders\\.clip_l\\.transformer\\."),
    (DENOISER, r"lora_unet_|lora_transformer_|lycoris_|unet\\.|transformer\\.|(model\\.)?diffusion_model\\.|"),
]


def flat(name):
    return name.replace(".", "_").removeprefix("text_model_")


def layers(pairs):
    """What each layer is called here and by trainers; `pairs` make the names of the network's authors."""
    found = {}
    for part, _ in PARTS:
        network = getattr(pipe, part, None)
        for name, layer in network.named_modules() if network is not None else []:
            if ".lora_" in name or not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
                continue
            name = theirs = name.removesuffix(".base_layer")
            for pattern, replacement in pairs:
                theirs = re.sub(pattern, replacement, theirs)
            for each in {flat(name), flat(theirs)}:
                found.setdefault((part, each), []).append((name, each != flat(name)))
    return found


def rank(place):
    """Queries, keys, values and what follows them lie in one layer in this order."""
    found = re.search(r"_([qkv])(_proj)?$", place[0])
    return "qkv".index(found[1]) if found else 3


def respelled(file, pairs):
    """A LoRA, its layers called as diffusers calls them."""
    given, known, found = load_file(file), layers(pairs), {}
    for key, down in given.items():
        match = re.fullmatch(r"(.+?)[._]lora(_linear_layer)?[._](down|A)((?:\\.[^.]+)?\\.weight)", key)
        if match is None:
            continue
        path, _, side, end = match.groups()
        up = given[f"{key[:match.start(3)]}{'up' if side == 'down' else 'B'}{end}"]
        if f"{path}.alpha" in given:
            down = down * (float(given[f"{path}.alpha"]) / len(down))
        inner = path.removeprefix("base_model.model.")
        part, prefix = next((part, begin) for part, names in PARTS if (begin := re.match(names, inner)))
        places = known.get((part, flat(inner[prefix.end():].removeprefix("base_model.model."))), [])
        places, network = sorted(places, key=rank), getattr(pipe, part, None)
        widths = [getattr(network.get_submodule(name), "out_features", 0) for name, _ in places]
        for (name, is_theirs), piece in zip(places, [up] if len(places) == 1 else up.split(widths) if places else []):
            if is_theirs and type(network.get_submodule(name.rpartition(".")[0])).__name__ == "AdaLayerNormContinuous":
                piece = torch.cat(piece.chunk(2)[::-1])
            found[f"{part}.{name}.lora_A.weight"] = down
            found[f"{part}.{name}.lora_B.weight"] = piece.contiguous()
    return found


'''


def imports(made: Made, files: ModelFiles) -> list[str]:
    """What the lines need."""
    return ["import re"] if is_respelled(made, files) else []


def lines(made: Made, files: ModelFiles) -> list[str]:
    """Each is loaded once, then all of them are weighed. Raises DarkroomError for one that is not there any more."""
    loras = made.plan.loras
    if missing := next((lora.name for lora in loras if lora.name not in files.loras), None):
        hint = "Ask where the LoRA's file is."
        raise DarkroomError(f"The configuration has no LoRA {missing} any more.", hint=hint)
    names = [f"lora_{number}" for number, _ in enumerate(loras, 1)]
    denoiser = '"unet"' if "unet" in files.index else '"transformer"'
    found = _RESPELLED.replace("DENOISER", denoiser).splitlines() if is_respelled(made, files) else []
    for name, lora in zip(names, loras, strict=True):
        found.append(_loaded(name, lora.name, files))
    return found + ([f"pipe.set_adapters({names!r}, {[lora.weight for lora in loras]!r})"] if loras else [])


def is_respelled(made: Made, files: ModelFiles) -> bool:
    """Whether one of them is not read by diffusers itself."""
    return any(lora.name in files.respelled for lora in made.plan.loras)


def _loaded(name: str, alias: str, files: ModelFiles) -> str:
    file = files.loras[alias]
    if alias in files.respelled:
        first = f"respelled({file!r}, {files.respelled[alias]!r})"
        return written("pipe.load_lora_weights", {"adapter_name": repr(name)}, first=first)
    folder, _, base = file.rpartition("/")
    given = {"weight_name": repr(base), "adapter_name": repr(name)}
    return written("pipe.load_lora_weights", given, first=repr(folder or "/"))
