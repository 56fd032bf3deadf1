"""How people put files into a folder: with cp, mv, an editor, a browser, a file manager."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from tests.real.latency import Latencies
from tests.real.requests import paused, rendered, write
from tests.real.servers import run

#: What a shell does with `$CAT`, a request file beside the inbox. $FAR is on another file system.
HABITS = {
    "cp": 'cp "$CAT" "$INBOX/cat.json"',
    "cp of an old file": 'touch -d 1970-01-02 "$CAT"; cp -p "$CAT" "$INBOX/cat.json"',
    "cp of a file from the future": 'touch -d 2100-01-01 "$CAT"; cp -p "$CAT" "$INBOX/cat.json"',
    "mv": 'mv "$CAT" "$INBOX/cat.json"',
    "mv from another file system": 'cp "$CAT" "$FAR/cat.json"; mv "$FAR/cat.json" "$INBOX/cat.json"',
    "a hard link": 'ln "$CAT" "$INBOX/cat.json"',
    "install": 'install -m 600 "$CAT" "$INBOX/cat.json"',
    "a redirection": 'cat "$CAT" > "$INBOX/cat.json"',
    "a byte at a time": 'dd if="$CAT" of="$INBOX/cat.json" bs=1 status=none',
    "a copy in the inbox": 'cp "$CAT" "$INBOX/cat.tmp"; mv "$INBOX/cat.tmp" "$INBOX/cat.json"',
    "tar": 'tar -C "$(dirname "$CAT")" -cf - cat.json | tar -C "$INBOX" -xf -',
    "a name in capitals": 'cp "$CAT" "$INBOX/cat.JSON"',
    "a browser's download (Chromium)": (
        'head -c 9 "$CAT" > "$INBOX/Unconfirmed 4711.crdownload"; cat "$CAT" > "$INBOX/Unconfirmed 4711.crdownload"; '
        'mv "$INBOX/Unconfirmed 4711.crdownload" "$INBOX/cat.json"'
    ),
    "a browser's download (Firefox)": (
        ': > "$INBOX/cat.json"; head -c 9 "$CAT" > "$INBOX/cat.Xy1z.json.part"; '
        'cat "$CAT" > "$INBOX/cat.Xy1z.json.part"; mv "$INBOX/cat.Xy1z.json.part" "$INBOX/cat.json"'
    ),
    "a file manager of macOS": (
        ': > "$INBOX/cat.json"; printf "\\0\\5\\26\\7" > "$INBOX/._cat.json"; cat "$CAT" > "$INBOX/cat.json"; '
        ': > "$INBOX/.DS_Store"'
    ),
    "a file manager of Windows": (
        'truncate -s "$(stat -c %s "$CAT")" "$INBOX/cat.json"; '
        'dd if="$CAT" of="$INBOX/cat.json" conv=notrunc status=none; : > "$INBOX/Thumbs.db"'
    ),
    "vim": 'vim.tiny -u NONE -es -c "read $CAT" -c "1delete" -c "write $INBOX/cat.json" -c quit',
    "an editor that renames (GNOME)": (
        'cat "$CAT" > "$INBOX/.goutputstream-X1Y2Z3"; mv "$INBOX/.goutputstream-X1Y2Z3" "$INBOX/cat.json"'
    ),
    "sed in place": (
        'sed s/seed/sead/ "$CAT" > "$INBOX/cat.txt"; sed -i s/sead/seed/ "$INBOX/cat.txt"; '
        'mv "$INBOX/cat.txt" "$INBOX/cat.json"'
    ),
}
#: How a queued request is changed; $CAT is the newer one.
CHANGES = {
    "cp": 'cp "$CAT" "$INBOX/cat.json"',
    "mv": 'mv "$CAT" "$INBOX/cat.json"',
    "a redirection": 'cat "$CAT" > "$INBOX/cat.json"',
    "delete, then create": 'rm "$INBOX/cat.json"; cp "$CAT" "$INBOX/cat.json"',
    "vim": 'vim.tiny -u NONE -es -c "%s/castle/palace/" -c write -c quit "$INBOX/cat.json"',
    "vim with a backup": (
        'vim.tiny -u NONE -es -c "set backup backupcopy=no" -c "%s/castle/palace/" -c write -c quit "$INBOX/cat.json"'
    ),
    "an editor that renames (GNOME)": (
        'cat "$CAT" > "$INBOX/.goutputstream-X1Y2Z3"; cp -p "$INBOX/cat.json" "$INBOX/cat.json~"; '
        'mv "$INBOX/.goutputstream-X1Y2Z3" "$INBOX/cat.json"'
    ),
    "sed in place": 'sed -i s/castle/palace/ "$INBOX/cat.json"',
}
FOLDERS = {
    "cp -r": 'cp -r "$PILE" "$INBOX/alice"',
    "mv": 'mv "$PILE" "$INBOX/alice"',
    "mv from another file system": 'cp -r "$PILE" "$FAR/pile"; mv "$FAR/pile" "$INBOX/alice"',
}


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def shell(script: str, daemon: DaemonProcess, **paths: Path) -> None:
    run("bash", "-euc", script, environment={"INBOX": str(daemon.inbox)} | {key: str(paths[key]) for key in paths})


@pytest.mark.parametrize("habit", HABITS)
def test_a_request_is_rendered_once_however_it_is_dropped(
    habit: str, daemon: DaemonProcess, tmp_path: Path, far: Path, latencies: Latencies
) -> None:
    cat = write(tmp_path / "cat.json")
    raw = cat.read_bytes()
    with latencies.measure("on a local disk, by a shell"):
        shell(HABITS[habit], daemon, CAT=cat, FAR=far)
        daemon.wait_for_state("cat", "queued", "rendering", "done")
    daemon.wait_for_state("cat", "done")
    daemon.look_again()
    daemon.check_settled(["cat"])
    assert rendered(daemon) == ["cat"]
    assert (daemon.outbox / "cat" / "request.json").read_bytes() == raw


@pytest.mark.parametrize("change", CHANGES)
def test_a_queued_request_that_a_person_changes_is_rendered_once_as_it_was_last(
    change: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    with paused(daemon):
        daemon.drop("cat.json", write(tmp_path / "old.json", "a castle").read_bytes())
        first = daemon.wait_for_state("cat", "queued")
        shell(CHANGES[change], daemon, CAT=write(tmp_path / "cat.json", "a palace"))
        daemon.wait_for(lambda: daemon.answer("cat")["id"] != first["id"], "the newer request is answered")
    assert daemon.wait_for_state("cat", "done")["plan"]["prompt"] == "a palace"
    daemon.look_again()
    assert rendered(daemon) == ["cat"]


@pytest.mark.parametrize("habit", FOLDERS)
def test_a_folder_of_requests_is_rendered_whole(habit: str, daemon: DaemonProcess, tmp_path: Path, far: Path) -> None:
    for number in range(50):
        write(tmp_path / "pile" / f"page-{number}.json", f"page {number}")
        write(tmp_path / "pile" / "deep" / f"page-{number}.json", f"deep page {number}")
    shell(FOLDERS[habit], daemon, PILE=tmp_path / "pile", FAR=far)
    names = [f"alice/{below}page-{number}" for number in range(50) for below in ("", "deep/")]
    for name in names:
        daemon.wait_for_state(name, "done")
    assert sorted(rendered(daemon)) == sorted(names)


def test_a_request_that_is_appended_to_bit_by_bit_is_rendered_once_it_is_whole(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    cat = write(tmp_path / "cat.json")
    size = cat.stat().st_size
    for start, end in ((0, 1), (1, size // 2), (size // 2, size - 1)):
        shell(f'tail -c +{start + 1} "$CAT" | head -c {end - start} >> "$INBOX/cat.json"', daemon, CAT=cat)
        daemon.wait_for(lambda size=end: f" {size} bytes" in daemon.why_not_taken().get("cat.json", ""), "it is told")  # type: ignore[misc]
    shell('tail -c 1 "$CAT" >> "$INBOX/cat.json"', daemon, CAT=cat)
    daemon.check_settled(["cat"])
    assert rendered(daemon) == ["cat"]


def test_a_download_is_told_while_it_lasts_and_rendered_when_it_has_its_name(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    shell('cp "$CAT" "$INBOX/cat.json.crdownload"', daemon, CAT=write(tmp_path / "cat.json"))
    daemon.wait_for(
        lambda: daemon.why_not_taken().get("cat.json.crdownload") == "ignored: an unfinished download", "it is told"
    )
    assert not rendered(daemon)
    shell('mv "$INBOX/cat.json.crdownload" "$INBOX/cat.json"', daemon)
    daemon.check_settled(["cat"])
