"""What it costs to take a request with four pictures of 20 megapixels, and what that leaves in the service's memory.

    python bench/bundles.py [--bundles 12] [--folder FOLDER]

Taking is what the inbox does when a request's turn has come: copies to the state folder, fsynced; the request hidden,
and read again; the pictures removed, and the request. Each round is paired with the copies alone, fsynced, in the
same seconds. For the memory a daemon of its own takes so many bundles, one after another; the pictures are decoded in
a process of its own, which ends with it.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from pathlib import Path

from figures import Row, machine, median, noise, show
from PIL import Image
from rig import Daemon, scratch, wait_until

from darkroom.disk.files import Disk
from darkroom.disk.folders import Folder
from darkroom.inbox.arrivals import Inbox
from darkroom.inbox.drops import Outcome
from darkroom.inbox.judge import Verdict, Version
from darkroom.names import ulid
from darkroom.request.inputs import InputFile
from darkroom.spool.kept import Kept

ROUNDS = 7
NAMES = ("init.jpg", "mask.jpg", "one.jpg", "two.jpg")
SIZE_PX = (5480, 3650)
REQUEST = {"prompt": "a castle", "init_image": NAMES[0], "mask_image": NAMES[1], "reference_images": list(NAMES[2:])}
GOAL_RATIO, GOAL_GROWTH_MIB = 2.0, 8.0


class NoJudge:
    """Taking asks nobody."""

    def verdict(self, version: Version, handle: int, path: str) -> Verdict | None:
        """It is not asked."""
        raise NotImplementedError

    def stop(self) -> None:
        """There is nothing to end."""


def main() -> int:
    """Measure, print, and end with 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=12, help="for the memory (default: %(default)s)")
    parser.add_argument("--folder", help="where to put the folders (default: where temporary files go)")
    args = parser.parse_args()
    with scratch(args.folder) as root:
        pictures = [picture(number) for number in range(len(NAMES))]
        pairs = [measure(root / f"round-{number}", number, pictures) for number in range(ROUNDS)]
        memory_mib = measure_memory(root / "daemon", pictures, args.bundles)
    return tell(pairs, memory_mib, sum(map(len, pictures)), f"{machine()}; {args.folder or 'temporary folder'}")


def picture(number: int) -> bytes:
    """A JPEG of some 10 MB, as a photograph of that size has."""
    buffer = io.BytesIO()
    small = Image.effect_noise((SIZE_PX[0] // 4, SIZE_PX[1] // 4), 40 + number)
    small.resize(SIZE_PX, Image.Resampling.BICUBIC).convert("RGB").save(buffer, "JPEG", quality=96)
    return buffer.getvalue()


def drop(inbox: Path, name: str, pictures: list[bytes]) -> None:
    """Pictures first, so that the request is complete when it is seen."""
    folder = inbox / f"{name}.files"
    folder.mkdir(parents=True)
    for file, raw in zip(NAMES, pictures, strict=True):
        (folder / file).write_bytes(raw)
    (inbox / f".{name}").write_text(json.dumps(REQUEST))
    (inbox / f".{name}").rename(inbox / f"{name}.json")


def measure(root: Path, number: int, pictures: list[bytes]) -> tuple[float, float]:
    """Seconds that taking takes, and that the copies alone take."""
    disk = Disk()
    drop(root / "inbox", "cat", pictures)
    kept = Kept(root / "state", disk=disk)
    inbox = Inbox(
        Folder(root / "inbox", None, disk=disk),
        disk=disk,
        settle_s=10.0,
        network_settle_s=60.0,
        keep=kept.keep,
        keep_input=kept.keep_input,
        judge=NoJudge(),
        clock=time.monotonic,
    )
    inbox.folder.check()
    inputs = tuple(
        InputFile(name, hashlib.sha256(raw).hexdigest(), len(raw)) for name, raw in zip(NAMES, pictures, strict=True)
    )
    sha256 = hashlib.sha256(json.dumps(REQUEST).encode()).hexdigest()
    request_id = ulid(number, number)
    (root / "copies").mkdir()
    sources = [root / f"source-{name}" for name in NAMES]
    for source, raw in zip(sources, pictures, strict=True):
        source.write_bytes(raw)

    def take() -> float:
        began_s = time.perf_counter()
        taking = inbox.take("cat.json", request_id, sha256, inputs)
        inbox.remove_hidden("cat.json", request_id, inputs=taking.inputs)
        took_s = time.perf_counter() - began_s
        if taking.outcome is not Outcome.TAKEN or list((root / "inbox").glob("cat*")):
            raise RuntimeError(f"it was not taken: {taking}")
        return took_s

    def copy() -> float:
        began_s = time.perf_counter()
        for source in sources:
            disk.copy_new(source, root / "copies" / source.name)
        disk.sync_folder(root / "copies")
        return time.perf_counter() - began_s

    if number % 2:
        copied_s = copy()
        return take(), copied_s
    return take(), copy()


def measure_memory(root: Path, pictures: list[bytes], bundles: int) -> list[float]:
    """MiB that the service holds after each bundle."""
    daemon = Daemon(root)
    held: list[float] = []
    with daemon.running():
        for number in range(bundles):
            drop(daemon.inbox, f"cat-{number}", pictures)
            wait_until(lambda n=number: not (daemon.inbox / f"cat-{n}.json").exists(), within_s=120.0)  # type: ignore[misc]
            wait_until(lambda n=number: daemon.state_of(f"cat-{n}") in ("done", "refused"), within_s=120.0)  # type: ignore[misc]
            held.append(resident_mib(daemon.pid))
    return held


def resident_mib(pid: int) -> float:
    """Of one process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def tell(pairs: list[tuple[float, float]], memory_mib: list[float], total_bytes: int, on: str) -> int:
    """Print the table."""
    takes_s, copies_s = zip(*pairs, strict=True)
    ratio = median([take_s / copy_s for take_s, copy_s in pairs])
    growth_mib = memory_mib[-1] - memory_mib[len(memory_mib) // 4]
    rows = [
        Row(f"taking {total_bytes >> 20} MiB in four pictures", f"{1000 * median(takes_s):.0f} ms {noise(takes_s)}"),
        Row("copying them, fsynced", f"{1000 * median(copies_s):.0f} ms {noise(copies_s)}"),
        Row("one over the other", f"{ratio:.2f}", f"≤ {GOAL_RATIO:g}", ratio <= GOAL_RATIO),
        Row("memory of the service after the first bundle", f"{memory_mib[0]:.0f} MiB"),
        Row(
            f"growth over the last three quarters of {len(memory_mib)}",
            f"{growth_mib:.1f} MiB",
            f"≤ {GOAL_GROWTH_MIB:g} MiB",
            growth_mib <= GOAL_GROWTH_MIB,
        ),
    ]
    return show("Requests with pictures", rows, measured_on=on)


if __name__ == "__main__":
    sys.exit(main())
