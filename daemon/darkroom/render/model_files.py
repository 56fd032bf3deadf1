"""A model's files that are not there yet: how they are downloaded, and what to do when they can't be.

Imported by the renderer only, after its environment (HF_HOME, …) is set.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from huggingface_hub import constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from darkroom.errors import ModelUnavailable, ModelUnsupported, with_place
from darkroom.executor.settings import RendererSettings
from darkroom.models.files import Fate
from darkroom.models.judge import Judgement, judge
from darkroom.models.source import ModelSource


def described(source: ModelSource) -> str:
    """The source with its revision."""
    return f"{source.source} at {source.revision}" if source.revision else source.source


def is_offline(settings: RendererSettings) -> bool:
    """Whether nothing may be downloaded: by the configuration, or by the environment."""
    return settings.offline or bool(constants.HF_HUB_OFFLINE)


def found(source: ModelSource, *, offline: bool) -> Judgement:
    """What is there of a model, in its folder or in the hub's cache."""
    return judge(source, Path(constants.HF_HUB_CACHE), offline=offline)


def downloaded_bytes(source: ModelSource) -> int:
    """How much of a model has come. What several downloads have of one file counts once."""
    repository = Path(constants.HF_HUB_CACHE, f"models--{source.source.replace('/', '--')}")
    most: dict[str, int] = {}
    for file in repository.glob("blobs/*"):
        content = file.name.partition(".")[0]
        most[content] = max(most.get(content, 0), _size(file))
    return sum(most.values())


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # a part that has just been made whole has another name now


def unusable(source: ModelSource, judgement: Judgement) -> ModelUnavailable:
    """What to say of a model that can't be loaded now, or never."""
    kind = ModelUnsupported if judgement.fate is Fate.NEVER else ModelUnavailable
    return kind(f"{source.alias}: {judgement.message}", hint=judgement.hint)


def download(source: ModelSource, fetch: Callable[[], str]) -> Path:
    """Run `fetch`, which downloads a model and returns its snapshot folder. Raises ModelUnavailable."""
    try:
        return Path(fetch())
    except Exception as error:  # noqa: BLE001 - the edge that knows what the hub's client raises
        traceback.print_exc()
        message, hint = _download_trouble(error)
    raise ModelUnavailable(f"{source.alias}: {described(source)} {message}", hint=hint)


#: What tells what a model is, and of which family: a few kilobytes.
TELLING = ("model_index.json", "*/config.json", "*/scheduler_config.json")


def fetch_what_it_is(source: ModelSource) -> None:
    """Have the files that tell what a model of the hub is, long before it is downloaded. Raises what the hub says."""
    snapshot_download(source.source, revision=source.revision, allow_patterns=list(TELLING))


def is_unknown(source: ModelSource, *, offline: bool) -> bool:
    """Whether nothing tells yet what a model of the hub is."""
    return (
        not offline and (judgement := found(source, offline=offline)).fate is Fate.ABSENT and judgement.family is None
    )


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
        "Correct `revision` of this model: a commit has 40 digits.",
    ),
)


NO_ACCESS = "There is a token (HF_TOKEN), but not of an account that may: accept them on its page with that account."


def _download_trouble(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do. The first error of a chain is the cause: diffusers wraps what the hub says."""
    causes = list(_chain(error))
    for kind, message, hint in HUB_REFUSALS:
        if any(isinstance(cause, kind) for cause in causes):
            return message, NO_ACCESS if kind is GatedRepoError and get_token() else hint
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
    return "has no such files to download.", "Correct `variant` and `revision` of this model."


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
    return f"cannot be downloaded: {with_place(error)}.", "Look at the renderer's log."


def unloadable(source: ModelSource) -> ModelUnavailable:
    """The libraries did not like a model, though it looked whole; they have said why in the log."""
    return ModelUnavailable(
        f"{source.alias} can't be loaded, though its files look whole.",
        hint="Download or copy it again; the renderer's log tells more.",
    )


def incomplete(source: ModelSource, part: str, place: Path, unfit: str) -> ModelUnavailable:
    """Some tensors of a part are not there, or not as they should be: `unfit` says which."""
    return ModelUnavailable(
        f"{source.alias}: of its {part}, {unfit} in {place}.",
        hint="Download or copy it again; if that does not help, it is of a kind that is not read: use another.",
    )
