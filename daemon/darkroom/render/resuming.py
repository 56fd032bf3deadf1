"""Downloads that were cut short go on where they ended, where the hub's client begins each file anew.

It writes each file under a name of its own, beside the place where it will lie, from the begin to the end. What one
that ended left there is the begin of the file: it is copied, and the hub is asked for the rest. Whoever uses this
checks what has come by its hash (`fetching.check`): another process may write there, too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from huggingface_hub import constants, file_download

#: What ends a name that the client gives to a file on its way: ETAG.RANDOM.incomplete.
_INCOMPLETE = ".incomplete"
#: Ours has no random part, so the next one finds it.
_KEPT = ".kept" + _INCOMPLETE


@contextmanager
def resuming() -> Iterator[None]:
    """Within it, files come by plain HTTP as far as that can be, and none begins anew."""
    get, move = file_download.http_get, file_download._download_to_tmp_and_move  # noqa: SLF001 - it chooses how they come

    def resumed(url: str, temp_file: BinaryIO, *, resume_size: int = 0, **options: Any) -> None:
        path = Path(temp_file.name)
        begun = resume_size or _begin(temp_file, path, options.get("expected_size"))
        try:
            get(url, temp_file, resume_size=begun, **options)
        except BaseException:
            temp_file.flush()
            with suppress(FileNotFoundError):  # the client calls itself, and it is kept already
                path.replace(_kept(path))
            raise

    def by_http(*arguments: Any, **options: Any) -> None:
        if (options.get("expected_size") or 0) <= constants.MAX_HTTP_DOWNLOAD_SIZE:
            options["xet_file_data"] = None  # it writes here and there, so nothing of it can be used later
        move(*arguments, **options)

    file_download.http_get, file_download._download_to_tmp_and_move = resumed, by_http  # noqa: SLF001
    try:
        yield
    finally:
        file_download.http_get, file_download._download_to_tmp_and_move = get, move  # noqa: SLF001


def _begin(temp_file: BinaryIO, path: Path, expected: int | None) -> int:
    """Copy the longest begin that is here into the file; returns how long it is. Others are of no use any more."""
    left = [each for each in path.parent.glob(f"{_etag(path)}.*{_INCOMPLETE}") if each != path]
    sizes = {each: each.stat().st_size for each in left}
    usable = [each for each, size in sizes.items() if expected is not None and size <= expected]
    if not usable:
        return 0
    longest = max(usable, key=sizes.__getitem__)
    with longest.open("rb") as opened:
        shutil.copyfileobj(opened, temp_file, constants.DOWNLOAD_CHUNK_SIZE)
    temp_file.flush()
    for each in left:
        each.unlink(missing_ok=True)
    return os.fstat(temp_file.fileno()).st_size


def _kept(path: Path) -> Path:
    return path.with_name(f"{_etag(path)}{_KEPT}")


def _etag(path: Path) -> str:
    return path.name.partition(".")[0]
