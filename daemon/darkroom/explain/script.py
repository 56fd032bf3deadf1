"""A few lines of diffusers that make a picture again: complete, without Darkroom, for who checks, learns or leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from darkroom.errors import DarkroomError
from darkroom.explain import calls, loading, solvers, texts
from darkroom.explain.files import ModelFiles
from darkroom.explain.loading import written
from darkroom.explain.made import Made
from darkroom.printable import printable

_LOSSY: Mapping[str, str] = {"jpeg": "jpg", "webp": "webp"}


def script(made: Made, files: ModelFiles, *, remarks: tuple[str, ...] = ()) -> str:
    """Python text. Raises DarkroomError where it can't be written."""
    plan, way = made.plan, calls.way_of(files.pipeline)
    scheduler = _scheduler(made, files, way)
    encoding = texts.lines(made, way, empty_is_zero=files.index.get("force_zeros_for_empty_prompt", False))
    classes = {files.pipeline, *loading.classes(files), *_class_of(plan.scheduler)}
    image = replace(
        made.image,
        prompt=texts.words(made.image.prompt, made),
        negative_prompt=texts.words(made.image.negative_prompt, made),
    )
    told = texts.arguments(made, way) if encoding else calls.texts(files.pipeline, plan, image)
    lines = [
        *(f"# {printable(remark)}" for remark in (*_remarks(made, files), *remarks)),
        "import torch",
        *loading.imports(files),
        f"from diffusers import {', '.join(sorted(classes))}",
        *(["import darkroom.starter.autoencoder  # its autoencoder is no class of diffusers"] * files.is_starter),
        "",
        *(["torch.set_num_threads(1)"] * files.is_starter),  # who adds numbers up decides how they are rounded
        *loading.lines(files, way),
        *scheduler,
        f"pipe.to({files.device!r})",
        *_channels_last(files),
        *_loras(made, files),
        *([encoding] if encoding else []),
        written("image = pipe", told | calls.arguments(files.pipeline, plan, image)) + ".images[0]",
        written("image.save", _saving(made), first=repr(_file(made))),
    ]
    return "\n".join(lines) + "\n"


def _remarks(made: Made, files: ModelFiles) -> list[str]:
    which = f"picture {made.index + 1} of {made.plan.num_images}"
    software = ", ".join(f"{name} {version}" for name, version in made.software.items())
    said = [f"{made.name}, {which}" + (f", as rendered by {software}" if software else "")]
    if made.loaded_as:
        said.append(f"It was loaded as {made.loaded_as}, and is loaded whole here: fewer bits paint nearly the same.")
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
    arguments = {key: repr(value) for key, value in given.items()}
    return [written(f"pipe.scheduler = {solvers.SOLVERS[name].name}", arguments)]


def _channels_last(files: ModelFiles) -> list[str]:
    """How pictures lie in the memory of a GPU decides which of its kernels paint them."""
    if files.device == "cpu":
        return []
    parts = [part for part in ("unet", "vae") if part in files.index]
    return [f"pipe.{part}.to(memory_format=torch.channels_last)" for part in parts]


def _loras(made: Made, files: ModelFiles) -> list[str]:
    """Each is loaded once, then all of them are weighed."""
    loras = made.plan.loras
    if missing := next((lora.name for lora in loras if lora.name not in files.loras), None):
        hint = "Ask where the LoRA's file is."
        raise DarkroomError(f"The configuration has no LoRA {missing} any more.", hint=hint)
    names = [f"lora_{number}" for number, _ in enumerate(loras, 1)]
    lines = []
    for name, lora in zip(names, loras, strict=True):
        folder, _, file = files.loras[lora.name].rpartition("/")
        given = {"weight_name": repr(file), "adapter_name": repr(name)}
        lines.append(written("pipe.load_lora_weights", given, first=repr(folder or "/")))
    return lines + ([f"pipe.set_adapters({names!r}, {[lora.weight for lora in loras]!r})"] if loras else [])


def _saving(made: Made) -> dict[str, str]:
    plan = made.plan
    if plan.format not in _LOSSY:
        return {}
    colours = {"subsampling": repr("4:4:4" if (plan.quality or 0) >= 90 else "4:2:0")} if plan.format == "jpeg" else {}
    return {"quality": repr(plan.quality)} | colours


def _file(made: Made) -> str:
    """Not the picture's own name: it may lie beside."""
    return f"{made.stem}-again.{_LOSSY.get(made.plan.format, 'png')}"
