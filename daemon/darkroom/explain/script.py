"""A few lines of diffusers that make a picture again: complete, without Darkroom, for who checks, learns or leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from darkroom.errors import DarkroomError
from darkroom.explain import calls, enlarging, loading, loras, masked, pictures, solvers, texts
from darkroom.explain.files import ControlFiles, ModelFiles
from darkroom.explain.loading import dtype_of, written
from darkroom.explain.made import Made
from darkroom.printable import printable
from darkroom.request.embeddings import token
from darkroom.request.plan import ImagePlan, Plan

_LOSSY: Mapping[str, str] = {"jpeg": "jpg", "webp": "webp"}


def script(made: Made, files: ModelFiles, *, remarks: tuple[str, ...] = ()) -> str:
    """Python text; `files`: of its model. Raises DarkroomError where it can't be written."""
    if made.plan.upscale is not None:
        said = [f"# {printable(remark)}" for remark in _remarks(made, files)]
        return "\n".join([*said, *enlarging.lines(made, made.plan.upscale, files), _saved(made)]) + "\n"
    plan, kind = made.plan, _kind(made.plan, files)
    way = calls.way_of(files.pipeline)
    if kind in calls.UNGUIDED:
        way = replace(way, takes=("guidance_scale",), negative=False)
    scheduler = _scheduler(made, files, way)
    encoding = texts.lines(made, way, empty_is_zero=files.index.get("force_zeros_for_empty_prompt", False))
    classes = {
        kind,
        *_of_second_pass(plan, files),
        *loading.classes(files),
        *_class_of(plan.scheduler),
        *_nets(plan, files),
    }
    image = replace(
        made.image,
        prompt=texts.words(made.image.prompt, made),
        negative_prompt=texts.words(made.image.negative_prompt, made),
    )
    told = texts.arguments(made, way) if encoding else calls.texts(way, plan, image)
    lines = [
        *(f"# {printable(remark)}" for remark in (*_remarks(made, files), *remarks)),
        *pictures.imports(plan),
        *loras.imports(made, files),
        "import torch",
        *(
            ["from safetensors.torch import load_file"]
            * (bool(made.plan.embeddings) or loras.is_respelled(made, files))
        ),
        *loading.imports(files),
        *(["from spandrel import ModelLoader"] if plan.hires is not None and plan.hires.upscaler is not None else []),
        f"from diffusers import {', '.join(sorted(classes))}",
        *(["import darkroom.starter.autoencoder  # its autoencoder is not a class of diffusers"] * files.is_starter),
        "",
        *(["torch.set_num_threads(1)"] * files.is_starter),  # who adds numbers up decides how they are rounded
        *_controls(plan, files, way),
        *loading.lines(files, way, kind, controlled=bool(plan.control)),
        *scheduler,
        f"pipe.to({files.device!r})",
        *_channels_last(files),
        *_embeddings(made, files),
        *loras.lines(made, files),
        *([encoding] if encoding else []),
        *pictures.lines(plan),
        *([masked.LINES.format(seed=image.seed)] * calls.puts_back(files.pipeline, plan, files.latents)),
        *([f"torch.manual_seed({image.seed})  # it encodes control pictures by chance"] * (kind in calls.BY_CHANCE)),
        written("image = pipe", told | _shown(kind, plan, files) | calls.arguments(kind, way, plan, image))
        + ".images[0]",
        *(["image = Image.composite(image, init, mask)  # the rest is as it came in"] * (plan.mask_image is not None)),
        *_second_pass(made, files, kind, image, encoded=encoding != ""),
        _saved(made),
    ]
    return "\n".join(lines) + "\n"


def _kind(plan: Plan, files: ModelFiles) -> str:
    """The class that paints it. Raises DarkroomError."""
    for each in plan.control:
        if each.name not in files.controls:
            raise DarkroomError(f"The configuration has no control {each.name}.", hint="Put it back.")
    try:
        return calls.class_of(files.pipeline, plan, is_union=_is_union(plan, files), latents=files.latents)
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
    told = {key: repr(value) for key, value in given.items() if value is not None}
    told |= {"dtype": f"torch.{dtype_of(files, way)}", "use_safetensors": "True"}
    inner = ", ".join([repr(source.place), *(f"{key}={value}" for key, value in told.items())])
    return f"{kind}.from_pretrained({inner})"


def _shown(kind: str, plan: Plan, files: ModelFiles) -> dict[str, str]:
    control = "image" if kind in calls.CONTROLLED_BY_IMAGE else "control_image"
    given = pictures.arguments(plan, files, control=control)
    if not calls.puts_back(files.pipeline, plan, files.latents):
        return given
    del given["mask_image"]
    return given | {"callback_on_step_end": "put_back"}


def _of_second_pass(plan: Plan, files: ModelFiles) -> list[str]:
    """The class that paints it, where there is one."""
    return [_kind(plan.second_pass, files)] if plan.second_pass is not None else []


def _second_pass(made: Made, files: ModelFiles, first: str, image: ImagePlan, *, encoded: bool) -> list[str]:
    """What is painted over the first picture, enlarged: the same words, noise from the same seed."""
    plan = made.plan.second_pass
    if plan is None:
        return []
    (kind,), way = _of_second_pass(made.plan, files), calls.way_of(files.pipeline)
    told = texts.arguments(made, way) if encoded else calls.texts(way, plan, image)
    given = {"image": "image", "strength": repr(plan.strength)}
    same = "pipe" if kind == first else f"{kind}.from_pipe(pipe, dtype=torch.{dtype_of(files, way)})"
    return [
        "",
        *_upscaled(made.plan, files),
        f"image = image.resize(({plan.width}, {plan.height}), Image.Resampling.LANCZOS)",
        f"larger = {same}",
        "larger.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)  # as new",
        written("image = larger", told | given | calls.arguments(kind, way, plan, image)) + ".images[0]",
    ]


def _upscaled(plan: Plan, files: ModelFiles) -> list[str]:
    """What a network makes of the first picture, before it has its size. Raises DarkroomError."""
    alias = plan.hires.upscaler if plan.hires is not None else None
    if alias is None:
        return []
    if alias not in files.upscalers:
        raise DarkroomError(f"The configuration has no upscaler {alias}.", hint="Put it back.")
    return [
        f"upscaler = ModelLoader({files.device!r}).load_from_file({files.upscalers[alias]!r}).float().eval()",
        "with torch.inference_mode():",
        "    numbers = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255",
        f"    numbers = upscaler(numbers.to({files.device!r}))[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()",
        "image = Image.fromarray((numbers * 255).round().astype(np.uint8))",
    ]


def _remarks(made: Made, files: ModelFiles) -> list[str]:
    which = f"picture {made.index + 1} of {made.plan.num_images}"
    software = ", ".join(f"{name} {version}" for name, version in made.software.items())
    said = [f"{made.name}, {which}" + (f", as rendered by {software}" if software else "")]
    if made.loaded_as:
        said.append(f"It was loaded as {made.loaded_as}, and is loaded whole here: fewer bits paint nearly the same.")
    if files.pipeline not in calls.WAYS and made.plan.upscale is None:
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


def _embeddings(made: Made, files: ModelFiles) -> list[str]:
    """Each text encoder is taught each word; then texts end by the sign that says so, not by the highest token."""
    embeddings = made.plan.embeddings
    if missing := next((each.name for each in embeddings if each.name not in files.embeddings), None):
        message = f"The configuration has no embedding {missing} that fits the model any more."
        raise DarkroomError(message, hint="Ask where the embedding's file is.")
    lines, suffixes = [], dict[str, None]()
    for each in embeddings:
        for vectors in files.embeddings[each.name]:
            reader = {key: f"pipe.{key}{vectors.suffix}" for key in ("tokenizer", "text_encoder")}
            given = {"token": repr(token(each.name)), **reader}
            tensor = f"load_file({vectors.place!r})[{vectors.key!r}]"
            lines.append(written("pipe.load_textual_inversion", given, first=tensor))
            suffixes[vectors.suffix] = None
    for suffix in suffixes:
        lines.append(f"for part in pipe.text_encoder{suffix}.modules():")
        lines.append("    if hasattr(part, 'eos_token_id'):")
        lines.append(f"        part.eos_token_id = pipe.tokenizer{suffix}.eos_token_id")
    return lines


def _saved(made: Made) -> str:
    return written("image.save", _saving(made), first=repr(_file(made)))


def _saving(made: Made) -> dict[str, str]:
    plan = made.plan
    if plan.format not in _LOSSY:
        return {}
    colours = {"subsampling": repr("4:4:4" if (plan.quality or 0) >= 90 else "4:2:0")} if plan.format == "jpeg" else {}
    return {"quality": repr(plan.quality)} | colours


def _file(made: Made) -> str:
    """Not the picture's own name: it may lie beside."""
    return f"{made.stem}-again.{_LOSSY.get(made.plan.format, 'png')}"
