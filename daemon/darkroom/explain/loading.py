"""How a model is read, as lines of Python."""

from __future__ import annotations

from collections.abc import Mapping

from darkroom.errors import DarkroomError
from darkroom.explain.calls import Way
from darkroom.explain.files import Alone, ModelFiles

#: Parts that paint nothing: they look at pictures, or at given ones.
IDLE_PARTS = ("safety_checker", "feature_extractor", "image_encoder")
#: Longer statements are written one argument a line.
WIDTH = 100
_QUANTISED = ".gguf"


def lines(files: ModelFiles, way: Way, kind: str, *, controlled: bool) -> list[str]:
    """The pipeline, of this class, with a `controlnet` or without, after the parts that lie elsewhere.

    Raises DarkroomError for one that plain Python can't read.
    """
    parts = [written(f"{part} = {_reader(part, each)}", _of(part, each, files, way), first=repr(each.place))
             for part, each in files.alone.items()]  # fmt: skip
    how = "from_single_file" if files.is_one_file else "from_pretrained"
    given = _loading(files, way) | ({"controlnet": "controlnet"} if controlled else {})
    return [*parts, written(f"pipe = {kind}.{how}", given, first=repr(files.place))]


def classes(files: ModelFiles) -> set[str]:
    """Those of diffusers that are named besides the pipeline's."""
    kinds = {each.kind for each in files.alone.values() if not _is_of_transformers(each)}
    return kinds | ({"GGUFQuantizationConfig"} if any(map(_is_quantised, files.alone.values())) else set())


def imports(files: ModelFiles) -> list[str]:
    """Of other libraries."""
    kinds = sorted({each.kind for each in files.alone.values() if _is_of_transformers(each)})
    return [f"from transformers import {', '.join(kinds)}"] if kinds else []


def written(callee: str, arguments: Mapping[str, str], *, first: str | None = None) -> str:
    """A call, on one line if it fits."""
    given = [*([first] if first is not None else []), *(f"{key}={value}" for key, value in arguments.items())]
    line = f"{callee}({', '.join(given)})"
    if len(line) <= WIDTH:
        return line
    return f"{callee}(\n" + "".join(f"    {each},\n" for each in given) + ")"


def _reader(part: str, each: Alone) -> str:
    if _is_of_transformers(each) and not each.is_folder:
        message = f"Its {part} lies in {each.place}, which plain transformers does not read."
        raise DarkroomError(message, hint="`darkroom explain` without `--as-python` says all but that.")
    return f"{each.kind}.{'from_pretrained' if each.is_folder else 'from_single_file'}"


def _of(part: str, each: Alone, files: ModelFiles, way: Way) -> dict[str, str]:
    dtype = f"torch.{dtype_of(files, way)}"
    if each.is_folder:
        return {"dtype": dtype, "use_safetensors": "True"}
    based = {} if files.is_one_file else {"config": repr(files.place), "subfolder": repr(part)}
    packed = {"quantization_config": f"GGUFQuantizationConfig(compute_dtype={dtype})"} if _is_quantised(each) else {}
    return based | packed | {"dtype": dtype}


def _is_quantised(each: Alone) -> bool:
    return each.place.endswith(_QUANTISED)


def _is_of_transformers(each: Alone) -> bool:
    return each.kind.startswith(("CLIP", "T5", "Qwen", "Gemma", "UMT5", "Mistral", "Llama", "Glm", "SmolLM"))


def _loading(files: ModelFiles, way: Way) -> dict[str, str]:
    parts = {part: entry for part, entry in files.index.items() if not part.startswith("_")}
    left_out = [part for part, entry in parts.items() if entry is None or entry == [None, None]]
    left_out += [] if files.safety_checker else [part for part in IDLE_PARTS if part in parts]
    given = {"revision": files.revision, "cache_dir": files.cache, "variant": files.variant}
    told = {key: repr(value) for key, value in given.items() if value is not None}
    told |= {"dtype": f"torch.{dtype_of(files, way)}"} | ({} if files.is_one_file else {"use_safetensors": "True"})
    told |= dict.fromkeys(left_out, "None") | {part: part for part in files.alone}
    if "safety_checker" in left_out and "requires_safety_checker" in files.index:
        told["requires_safety_checker"] = "False"
    return told


def dtype_of(files: ModelFiles, way: Way) -> str:
    """On a processor single precision: halves are slow there, or of too few bits."""
    if files.device == "cpu":
        return "bfloat16" if files.dtype == "bfloat16" else "float32"
    return way.half if files.dtype == "auto" else files.dtype
