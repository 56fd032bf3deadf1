"""A few lines of diffusers that make a picture again: complete, without Darkroom, for who checks, learns or leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from darkroom.errors import DarkroomError
from darkroom.explain import calls, pictures, solvers, texts
from darkroom.explain.files import ControlFiles, ModelFiles
from darkroom.explain.made import Made
from darkroom.printable import printable
from darkroom.request.plan import Plan

#: Parts that paint nothing: they look at pictures, or at given ones.
IDLE_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
#: Longer statements are written one argument a line.
WIDTH = 100
_LOSSY: Mapping[str, str] = {"jpeg": "jpg", "webp": "webp"}


def script(made: Made, files: ModelFiles, *, remarks: tuple[str, ...] = ()) -> str:
    """Python text. Raises DarkroomError where it can't be written."""
    plan, kind = made.plan, _kind(made.plan, files)
    way = calls.way_of(files.pipeline)
    if kind in calls.UNGUIDED:
        way = replace(way, takes=("guidance_scale",), negative=False)
    scheduler = _scheduler(made, files, way)
    encoding = texts.lines(made, way, empty_is_zero=files.index.get("force_zeros_for_empty_prompt", False))
    image = replace(
        made.image,
        prompt=texts.words(made.image.prompt, made),
        negative_prompt=texts.words(made.image.negative_prompt, made),
    )
    told = texts.arguments(made, way) if encoding else calls.texts(way, plan, image)
    lines = [
        *(f"# {printable(remark)}" for remark in (*_remarks(made, files), *remarks)),
        *pictures.imports(plan),
        "import torch",
        f"from diffusers import {', '.join(sorted({kind, *_class_of(plan.scheduler), *_nets(plan, files)}))}",
        *(["import darkroom.starter.autoencoder  # its autoencoder is no class of diffusers"] * files.is_starter),
        "",
        *(["torch.set_num_threads(1)"] * files.is_starter),  # who adds numbers up decides how they are rounded
        *_controls(plan, files, way),
        _written(f"pipe = {kind}.from_pretrained", _loading(plan, files, way), first=repr(files.place)),
        *scheduler,
        f"pipe.to({files.device!r})",
        *_channels_last(files),
        *([encoding] if encoding else []),
        *pictures.lines(plan),
        *([f"torch.manual_seed({image.seed})  # it encodes control pictures by chance"] * (kind in calls.BY_CHANCE)),
        _written("image = pipe", told | _shown(kind, plan, files) | calls.arguments(kind, way, plan, image))
        + ".images[0]",
        *(["image = Image.composite(image, init, mask)  # the rest is as it came in"] * (plan.mask_image is not None)),
        _written("image.save", _saving(made), first=repr(_file(made))),
    ]
    return "\n".join(lines) + "\n"


def _kind(plan: Plan, files: ModelFiles) -> str:
    """The class that paints it. Raises DarkroomError."""
    for each in plan.control:
        if each.name not in files.controls:
            raise DarkroomError(f"The configuration has no control {each.name}.", hint="Put it back.")
    try:
        return calls.class_of(files.pipeline, plan, is_union=_is_union(plan, files))
    except KeyError:
        message = f"Nobody here knows how a {files.pipeline} takes the pictures of this one."
        raise DarkroomError(message, hint="Use the version that rendered it.") from None


def _is_union(plan: Plan, files: ModelFiles) -> bool:
    return any(files.controls[each.name].mode is not None for each in plan.control)


def _nets(plan: Plan, files: ModelFiles) -> list[str]:
    """The class of its ControlNets."""
    if not plan.control:
        return []
    siblings = calls.SIBLINGS[files.pipeline]
    return [siblings.union_nets if _is_union(plan, files) else siblings.nets]


def _controls(plan: Plan, files: ModelFiles, way: calls.Way) -> list[str]:
    """The lines that load them. One that reads several kinds is loaded once."""
    if not plan.control:
        return []
    sources = [files.controls[each.name] for each in plan.control]
    (kind,) = _nets(plan, files)
    if len({(each.place, each.revision, each.variant) for each in sources}) == 1 and kind == "ControlNetUnionModel":
        sources = sources[:1]
    loaded = [_net(kind, each, files, way) for each in sources]
    if len(loaded) == 1:
        return [f"controlnet = {loaded[0]}"]
    return ["controlnet = [", *(f"    {each}," for each in loaded), "]"]


def _net(kind: str, source: ControlFiles, files: ModelFiles, way: calls.Way) -> str:
    given = {"revision": source.revision, "cache_dir": files.cache, "variant": source.variant}
    written = {key: repr(value) for key, value in given.items() if value is not None}
    written |= {"dtype": f"torch.{_dtype(files, way)}", "use_safetensors": "True"}
    inner = ", ".join([repr(source.place), *(f"{key}={value}" for key, value in written.items())])
    return f"{kind}.from_pretrained({inner})"


def _shown(kind: str, plan: Plan, files: ModelFiles) -> dict[str, str]:
    control = "image" if kind in calls.CONTROLLED_BY_IMAGE else "control_image"
    return pictures.arguments(plan, files, control=control)


def _remarks(made: Made, files: ModelFiles) -> list[str]:
    which = f"picture {made.index + 1} of {made.plan.num_images}"
    software = ", ".join(f"{name} {version}" for name, version in made.software.items())
    said = [f"{made.name}, {which}" + (f", as rendered by {software}" if software else "")]
    if files.pipeline not in calls.WAYS:
        said.append(f"Nobody has described {files.pipeline}: this is how most classes are called.")
    return said


def _class_of(scheduler: str) -> list[str]:
    return [solvers.SOLVERS[scheduler].name] if scheduler in solvers.SOLVERS else []


def _scheduler(made: Made, files: ModelFiles, way: calls.Way) -> list[str]:
    name = made.plan.scheduler
    if name == solvers.OWN:
        return [f"# Its scheduler is its own, as it was saved: {printable(str(files.scheduler.get('_class_name')))}."]
    if name not in solvers.SOLVERS:
        raise DarkroomError(f"Nobody here knows the scheduler {name}.", hint="Use the version that rendered it.")
    given = solvers.arguments(name, files.scheduler, preset=files.preset, offset=way.offset)
    written = {key: repr(value) for key, value in given.items()}
    return [_written(f"pipe.scheduler = {solvers.SOLVERS[name].name}", written)]


def _loading(plan: Plan, files: ModelFiles, way: calls.Way) -> dict[str, str]:
    parts = {part: entry for part, entry in files.index.items() if not part.startswith("_")}
    left_out = [part for part, entry in parts.items() if entry is None or entry == [None, None]]
    left_out += [] if files.safety_checker else [part for part in IDLE_PARTS if part in parts]
    given = {"revision": files.revision, "cache_dir": files.cache, "variant": files.variant}
    written = {key: repr(value) for key, value in given.items() if value is not None}
    written |= {"dtype": f"torch.{_dtype(files, way)}", "use_safetensors": "True"}
    written |= {"controlnet": "controlnet"} if plan.control else {}
    written |= dict.fromkeys(left_out, "None")
    if "safety_checker" in left_out and "requires_safety_checker" in files.index:
        written["requires_safety_checker"] = "False"
    return written


def _dtype(files: ModelFiles, way: calls.Way) -> str:
    """On a processor single precision: halves are slow there, or of too few bits."""
    if files.device == "cpu":
        return "bfloat16" if files.dtype == "bfloat16" else "float32"
    return way.half if files.dtype == "auto" else files.dtype


def _channels_last(files: ModelFiles) -> list[str]:
    """How pictures lie in the memory of a GPU decides which of its kernels paint them."""
    if files.device == "cpu":
        return []
    parts = [part for part in ("unet", "vae") if part in files.index]
    return [f"pipe.{part}.to(memory_format=torch.channels_last)" for part in parts]


def _saving(made: Made) -> dict[str, str]:
    plan = made.plan
    if plan.format not in _LOSSY:
        return {}
    colours = {"subsampling": repr("4:4:4" if (plan.quality or 0) >= 90 else "4:2:0")} if plan.format == "jpeg" else {}
    return {"quality": repr(plan.quality)} | colours


def _file(made: Made) -> str:
    """Not the picture's own name: it may lie beside."""
    return f"{made.stem}-again.{_LOSSY.get(made.plan.format, 'png')}"


def _written(callee: str, arguments: Mapping[str, str], *, first: str | None = None) -> str:
    """A call, on one line if it fits."""
    given = [*([first] if first is not None else []), *(f"{key}={value}" for key, value in arguments.items())]
    line = f"{callee}({', '.join(given)})"
    if len(line) <= WIDTH:
        return line
    return f"{callee}(\n" + "".join(f"    {each},\n" for each in given) + ")"
