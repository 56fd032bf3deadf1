"""The hub's cache on a disk: the ids of models, and where one lies in it."""

from __future__ import annotations

import re
from pathlib import Path

from darkroom.models.files import Fate, Unusable
from darkroom.models.source import ModelSource

HUB_ID = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[\w])?(?:/[\w](?:[\w.-]{0,94}[\w])?)?", re.ASCII)
URL = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/([\w.-]+/[\w.-]+)")
ELSEWHERE = re.compile(r"https?://")
CACHE_FOLDER = re.compile(r"(?:^|.*/)models--([\w.-]+?)--([\w.-]+?)(?:/snapshots)?/?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SOME_COMMIT = re.compile(r"[0-9a-f]{7,39}")


def check_hub_id(source: str) -> None:
    """Raises Unusable for what cannot be one, with what was probably meant."""
    if HUB_ID.fullmatch(source) and "--" not in source and ".." not in source:
        return
    hint = "A hub id looks like `owner/name`; write a folder with its full path."
    if found := URL.match(source) or CACHE_FOLDER.fullmatch(source):
        hint = f'Write the hub id: source = "{"/".join(found.groups())}"'
    elif ELSEWHERE.match(source):
        hint = "Download it, and write the full path of the file or folder."
    raise Unusable(Fate.NEVER, f"{source!r} is neither a hub id nor an absolute path.", hint)


def snapshot_of(source: ModelSource, hub_cache: Path) -> Path | None:
    """The folder of a repository in the hub's cache; None when it was never downloaded.

    Without the name of a revision (`refs/main` gets lost when a cache is copied) the only commit there is meant.
    """
    repository = hub_cache / f"models--{source.source.replace('/', '--')}"
    revision = source.revision or "main"
    named = repository / "refs" / revision
    if named.is_file() and COMMIT.fullmatch(written := named.read_text(errors="replace").strip()):
        commit = written
    elif (repository / "snapshots" / revision).is_dir():
        commit = revision
    else:
        commit = _only_commit(repository, source.revision)
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def _only_commit(repository: Path, revision: str | None) -> str:
    if not (repository / "snapshots").is_dir() or (revision and not SOME_COMMIT.fullmatch(revision)):
        return ""
    commits = sorted(path.name for path in (repository / "snapshots").iterdir() if path.name.startswith(revision or ""))
    if len(commits) > 1:
        hint = f'Say which: revision = "{commits[0]}"'
        raise Unusable(Fate.HELD, f"the cache in {repository} has {len(commits)} commits, and none is named.", hint)
    return commits[0] if commits else ""
