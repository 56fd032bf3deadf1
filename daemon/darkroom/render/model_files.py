"""Where a model's files are: a folder, or a repository of the hub and its cache; and what to do when they are not.

Imported by the renderer only, after its environment (HF_HOME, …) is set.
"""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from darkroom.errors import ModelUnavailable
from darkroom.executor.settings import ModelSource
from darkroom.starter import MODEL_DIR

INDEX = "model_index.json"

#: The one kind of model that is rendered so far.
PIPELINE_CLASS = "StableDiffusionPipeline"

LOCAL = "local"


def local_folder(source: ModelSource) -> Path | None:
    """The folder of a source that is not a hub repository."""
    if source.is_starter:
        return MODEL_DIR
    return Path(source.source) if source.source.startswith("/") else None


def check_folder(source: ModelSource, folder: Path) -> None:
    """Raise ModelUnavailable unless `folder` looks like a model that can be rendered."""
    if not folder.is_dir():
        raise ModelUnavailable(
            f"{source.alias}: there is no folder {folder}.",
            hint="Mount it, or correct `source` of this model in the configuration.",
        )
    if not (folder / INDEX).is_file():
        raise ModelUnavailable(
            f"{source.alias}: {folder} has no {INDEX}.",
            hint="`source` is the folder of a diffusers model (with unet, vae, text_encoder, … in it); "
            "a single .safetensors or .ckpt file must be converted first.",
        )
    kind = _pipeline_class(folder / INDEX)
    if kind != PIPELINE_CLASS:
        raise ModelUnavailable(
            f"{source.alias}: this is a {kind}, and only a {PIPELINE_CLASS} can be rendered.",
            hint="Choose a model of the Stable Diffusion 1.x or 2.x family.",
        )


def _pipeline_class(index: Path) -> str:
    try:
        kind: Any = json.loads(index.read_bytes())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"folder with an unreadable {INDEX}"
    return str(kind)


def cached_snapshot(source: ModelSource) -> Path | None:
    """The folder in the hub's cache, without asking the network; None when the model was never downloaded."""
    try:
        index = try_to_load_from_cache(source.source, INDEX, revision=source.revision)
    except HFValidationError as error:
        raise ModelUnavailable(
            f"{source.alias}: {source.source!r} is neither a hub id nor an absolute path ({error}).",
            hint="A hub id looks like `owner/name`; write a folder with its full path.",
        ) from None
    return Path(index).parent if isinstance(index, str) else None


def not_cached(source: ModelSource) -> ModelUnavailable:
    """Nothing may be downloaded, and nothing is there."""
    return ModelUnavailable(
        f"{source.alias}: {described(source)} is not in the cache, and the renderer is offline.",
        hint=f"Set `offline = false` for the first start, or copy the model into {constants.HF_HUB_CACHE}.",
    )


def described(source: ModelSource) -> str:
    """The source with its revision."""
    return f"{source.source} at {source.revision}" if source.revision else source.source


def download(source: ModelSource, fetch: Callable[[], str]) -> Path:
    """Run `fetch`, which downloads a model and returns its snapshot folder. Raises ModelUnavailable."""
    try:
        return Path(fetch())
    except Exception as error:  # noqa: BLE001 - the edge that knows what the hub's client raises
        traceback.print_exc()
        message, hint = _download_trouble(error)
    raise ModelUnavailable(f"{source.alias}: {described(source)} {message}", hint=hint)


#: What the hub says, as the end of a sentence that begins with the model's name, and what to do. The first kind fits.
HUB_REFUSALS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        GatedRepoError,
        "is gated: its owner wants you to accept conditions first.",
        "Accept them on its page, then set HF_TOKEN in the service's environment.",
    ),
    (
        RepositoryNotFoundError,
        "does not exist on the hub, or is private.",
        "Correct `source` of this model, or set HF_TOKEN in the service's environment.",
    ),
    (
        RevisionNotFoundError,
        "does not exist: the repository has no such revision.",
        "Correct `revision` of this model.",
    ),
)


def _download_trouble(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do. The first error of a chain is the cause: diffusers wraps what the hub says."""
    causes = list(_chain(error))
    for kind, message, hint in HUB_REFUSALS:
        if any(isinstance(cause, kind) for cause in causes):
            return message, hint
    for cause in reversed(causes):
        if isinstance(cause, HfHubHTTPError):
            return (
                f"cannot be downloaded: the hub answers {cause.response.status_code}.",
                "It will be tried again by itself.",
            )
        if is_network_error(cause):
            message = f"cannot be downloaded: the hub cannot be reached ({type(cause).__name__})."
            hint = f"Connect the machine, or copy the model into {constants.HF_HUB_CACHE}, or use a local folder."
            return message, hint
    if isinstance(error, OSError):
        return _disk_trouble(error)
    return f"cannot be downloaded: {error}", "Correct `variant` and `revision` of this model."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_network_error(error: BaseException) -> bool:
    """Whether the hub could not be reached.

    By name: the hub's client has changed its HTTP library twice (requests, httpx, httpx2), and each has these.
    """
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError | ConnectionError):
        return True
    names = {kind.__name__ for kind in type(error).__mro__}
    return not names.isdisjoint({"TransportError", "ConnectionError", "ConnectTimeout"})


def _disk_trouble(error: OSError) -> tuple[str, str]:
    cache = constants.HF_HUB_CACHE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"Free 2 to 5 GB for {cache}, or set `model_cache` to a folder on a larger disk."
        return "cannot be downloaded: the disk is full.", hint
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = f"Give the service the right to write {cache}, or set `model_cache`."
        return f"cannot be downloaded: {error.strerror}.", hint
    return f"cannot be downloaded: {error}", "Look at the renderer's log."


def unloadable(source: ModelSource, folder: Path, error: Exception) -> ModelUnavailable:
    """`from_pretrained` did not like what is in `folder`."""
    text = str(error).strip()
    first = next(iter(text.splitlines()), type(error).__name__)
    weights = list(folder.glob("unet/*.safetensors"))
    variants = sorted({file.name.split(".")[1] for file in weights if file.name.count(".") > 1})
    plain = any(file.name.count(".") == 1 for file in weights)
    if source.variant and weights and source.variant not in variants:
        hint = f"There is no variant {source.variant!r}: {_offer(variants)}."
    elif not source.variant and variants and not plain:
        hint = f"There are only variants: {_offer(variants)}."
    elif not weights and list(folder.glob("unet/*.bin")):
        hint = "Only .safetensors files are loaded (a .bin can run code): convert the model, or choose another."
    else:
        hint = "Some of its files are missing or broken: download or copy it again."
    return ModelUnavailable(f"{source.alias}: {folder} cannot be loaded: {first}", hint=hint)


def _offer(variants: list[str]) -> str:
    settings = " or ".join(f'`variant = "{variant}"`' for variant in variants)
    return f"set {settings}" if variants else "leave `variant` out"
