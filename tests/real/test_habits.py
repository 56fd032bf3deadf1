"""How people put files into a folder: with cp, mv, an editor, a browser, a file manager."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroom.testing.process import DaemonProcess
from tests.real.conftest import AS_SHIPPED
from tests.real.latency import Latencies
from tests.real.requests import paused, rendered, verify, write
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
    "vim": 'vim.tiny -u NONE -es -c "write $INBOX/cat.json" -c quit "$CAT"',
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


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One for all: each test has a sub-folder of its own. At the end, nothing has been rendered twice."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), settings=AS_SHIPPED) as running:
        yield running
        running.look_again()
        assert len(rendered(running)) == len(set(rendered(running)))


@pytest.fixture
def folder(request: pytest.FixtureRequest, daemon: DaemonProcess) -> str:
    """A sub-folder of the inbox for this test alone."""
    name = "-".join(re.findall("[a-z0-9]+", request.node.name.lower()))[-60:]
    (daemon.inbox / name).mkdir()
    return name


@pytest.fixture
def far() -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def shell(script: str, inbox: Path, **paths: Path) -> None:
    run("bash", "-euc", script, environment={"INBOX": str(inbox)} | {key: str(paths[key]) for key in paths})


@pytest.mark.parametrize("habit", HABITS)
def test_a_request_is_rendered_once_however_it_is_dropped(
    habit: str, daemon: DaemonProcess, folder: str, tmp_path: Path, far: Path, latencies: Latencies
) -> None:
    cat = write(tmp_path / "cat.json")
    raw = cat.read_bytes()
    with latencies.measure("on a local disk, by a shell"):
        shell(HABITS[habit], daemon.inbox / folder, CAT=cat, FAR=far)
        daemon.wait_for_state(f"{folder}/cat", "queued", "rendering", "done")
    daemon.wait_for_state(f"{folder}/cat", "done")
    assert (daemon.outbox / folder / "cat" / "request.json").read_bytes().rstrip() == raw
    verify(daemon.outbox / folder / "cat")


@pytest.mark.parametrize("change", CHANGES)
def test_a_queued_request_that_a_person_changes_is_rendered_once_as_it_was_last(
    change: str, daemon: DaemonProcess, folder: str, tmp_path: Path
) -> None:
    name = f"{folder}/cat"
    with paused(daemon):
        daemon.drop(f"{name}.json", write(tmp_path / "old.json", "a castle").read_bytes())
        first = daemon.wait_for_state(name, "queued")
        shell(CHANGES[change], daemon.inbox / folder, CAT=write(tmp_path / "cat.json", "a palace"))
        daemon.wait_for(lambda: daemon.answer(name)["id"] != first["id"], "the newer request is answered")
    assert daemon.wait_for_state(name, "done")["plan"]["prompt"] == "a palace"


@pytest.mark.parametrize("habit", FOLDERS)
def test_a_folder_of_requests_is_rendered_whole(
    habit: str, daemon: DaemonProcess, folder: str, tmp_path: Path, far: Path
) -> None:
    for number in range(20):
        write(tmp_path / "pile" / f"page-{number}.json", f"page {number}")
        write(tmp_path / "pile" / "deep" / f"page-{number}.json", f"deep page {number}")
    shell(FOLDERS[habit], daemon.inbox / folder, PILE=tmp_path / "pile", FAR=far)
    for number in range(20):
        daemon.wait_for_state(f"{folder}/alice/page-{number}", "done")
        daemon.wait_for_state(f"{folder}/alice/deep/page-{number}", "done")


def test_a_request_that_is_appended_to_bit_by_bit_is_rendered_once_it_is_whole(
    daemon: DaemonProcess, folder: str, tmp_path: Path
) -> None:
    inbox, cat = daemon.inbox / folder, write(tmp_path / "cat.json")
    size = cat.stat().st_size
    for start, end in ((0, 1), (1, size // 2), (size // 2, size - 1)):
        shell(f'tail -c +{start + 1} "$CAT" | head -c {end - start} >> "$INBOX/cat.json"', inbox, CAT=cat)
        told = re.compile(rf"still arriving: .*\b{end} bytes")
        daemon.wait_for(lambda told=told: told.match(_why(daemon, f"{folder}/cat.json")), "it is told")  # type: ignore[misc]
    shell('tail -c 1 "$CAT" >> "$INBOX/cat.json"', inbox, CAT=cat)
    daemon.wait_for_state(f"{folder}/cat", "done")


def test_a_download_is_told_while_it_lasts_and_rendered_when_it_has_its_name(
    daemon: DaemonProcess, folder: str, tmp_path: Path
) -> None:
    inbox = daemon.inbox / folder
    shell('cp "$CAT" "$INBOX/cat.json.crdownload"', inbox, CAT=write(tmp_path / "cat.json"))
    told = "ignored: an unfinished download"
    daemon.wait_for(lambda: _why(daemon, f"{folder}/cat.json.crdownload") == told, "it is told")
    assert f"{folder}/cat" not in rendered(daemon)
    shell('mv "$INBOX/cat.json.crdownload" "$INBOX/cat.json"', inbox)
    daemon.wait_for_state(f"{folder}/cat", "done")


def _why(daemon: DaemonProcess, path: str) -> str:
    return daemon.why_not_taken().get(path, "")
