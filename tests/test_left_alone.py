"""What others put beside people's requests: recycle bins, snapshots, conflict copies, half-written bundles."""

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom import left_alone
from darkroom.names import is_request, is_watched, why_ignored, why_not_entered
from tests.inbox_box import GOOD, Box, paths

DOCS = (Path(__file__).parents[1] / "docs" / "shares.md").read_text(encoding="utf-8")

SYSTEM_FOLDERS = [
    *("#recycle", "#Recycle", "#snapshot", "@eaDir", "@tmp", "@sharebin", "@Recycle", "@Recently-Snapshot"),
    *("Network Recycle Bin", "Network Recycle Bin 1", "$RECYCLE.BIN", "$Recycle.Bin", "RECYCLER", "Recycled"),
    *("System Volume Information", "FOUND.000", "lost+found", "~snapshot", "Network Trash Folder", "Temporary Items"),
    *("TheVolumeSettingsFolder", "Recycle.Bin", "trashbox", "Recycle Bin - Volume_1", "@GMT-2026.01.01-12.00.00"),
    *("LOST.DIR", "DfsrPrivate", "_gsdata_", "@sharesnap", "Recycle Bin", "recycle", "$Extend", "__MACOSX"),
    *(".Trash-1000", ".Trashes", ".recycle", ".snapshot", ".snapshots", ".zfs", ".stversions", ".Spotlight-V100"),
]
BUNDLES = [
    *("cat.json.download", "Photos.download", "cat.json.sb-1a2b3c4d-XyZ123", "batch.tmp", "batch.part", "~drafts"),
    *(
        f"cat{each}"
        for each in (".filepart", ".opdownload", ".fdmdownload", ".dtapart", ".aria2", ".!ut", ".!qB", ".bc!")
    ),
    *(f"cat{each}" for each in (".ffs_tmp", ".swp", ".swo", ".swx", "___jb_tmp___", "___jb_old___")),
    *("(A Document Being Saved By TextEdit)", "(A Document Being Saved By Preview 2)", "x.crdownload", "x.partial"),
]
CONFLICTS = [
    "cat.sync-conflict-20260101-120000-ABCDEFG.json",
    "cat (conflicted copy 2026-01-01 120000).json",
    "cat (conflicted copy alice 2026-01-01 120000).json",
    "cat_conflict-20260101-120000.json",
    "cat (case clash from alice).json",
    "cat (Alice's conflicted copy 2026-01-01).json",
    "cat (Alice's conflicted copy).json",
    "cat (Laptop conflicted copy 2026-01-01) (1).json",
    "cat (In Konflikt stehende Kopie von Alice 2026-01-01).json",
    "cat (Copie en conflit de Alice 2026-01-01).json",
    "cat (copia en conflicto de Ana 2026-01-01).json",
    "cat (kopia powodująca konflikt użytkownika Ala).json",
    "cat (conflicting version from 2026-01-01).json",
    "cat (Alice の競合コピー 2026-01-01).json",
    "cat (Case Conflict).json",
    "cat (Selective Sync Conflict 1).json",
    "cat (Unicode Encoding Conflict).json",
    "cat (SFConflict alice@example.com 2026-01-01-12-00-00).json",
    "cat.Conflict.json",
    "cat.Conflict1.json",
    "cat.Conflict 3.json",
    "cat.Conflict.Conflict.json",
    "cat-conflict-2018-11-08T01_02_03.004Z.json",
    "cat (Conflicted copy ThinkPad-T14-G5 202603121129).json",
    "cat (Sam's conflicting copy 2022-08-30).json",
    "cat.conflict1.json",
    "cat..path2.json",
    "cat_Andy-PC_Jan-03-0901-2013_CaseConflict_1.json",
    "cat_Andy-PC_Jan-03-0901-2013_Conflict.json",
    "cat(Conflict_alice (Web browser)_2020-03-25-22-50-36).json",
    "cat [Conflict].json",
    "cat[Conflict].json",
    "cat [conflicted].json",
    "cat (conflicted).json",
    "cat (# Edit conflict 2024-01-01 abc #).json",
    "cat (# Name clash 2023-10-24 abc #).json",
    "cat-DESKTOP-AB12CD3.json",
    "cat-LAPTOP-AB12CD34-2.json",
    "cat-myhost-safeBackup-0001.json",
    "cat (conflict #1 on 2026-01-01).json",
    "cat (Conflict - alice).json",
    "CAT (CONFLICTED COPY 2026-01-01 120000).JSON",
]
PEOPLES = [
    *("conflict.json", "armed-conflict.json", "a conflict of interest.json", "class_conflict.json", "cat (1).json"),
    *(
        "the conflicted hero.json",
        "cat 2.json",
        "cat-2.json",
        "download.json",
        "recycle.json",
        "my-desktop-picture.json",
    ),
    *("desktop.json", "part.json", "conflicted.json", "cat (a conflict).json", "snapshot.json", "a copy.json"),
]


@pytest.mark.parametrize("name", SYSTEM_FOLDERS + BUNDLES)
def test_what_a_system_or_a_program_keeps_is_never_looked_into(name: str, box: Box) -> None:
    assert why_not_entered(name)
    assert not is_watched(f"alice/{name}/bob")
    box.drop(f"{name}/cat.json")
    box.drop(f"alice/{name}/dog.json")
    assert [drop.path for _ in range(3) for drop in box.look().drops] == []


def test_each_thing_that_is_known_has_an_example_here_so_that_none_is_forgotten() -> None:
    assert left_alone.FOLDERS.keys() <= {name.lower() for name in SYSTEM_FOLDERS}
    assert [end for end in left_alone.UNFINISHED if not any(name.lower().endswith(end) for name in BUNDLES)] == []
    stems = [name.removesuffix(".json") for name in CONFLICTS]
    unused = [each.pattern for each in left_alone._CONFLICTS if not any(each.search(stem) for stem in stems)]
    assert unused == []


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_conflict_copy_is_left_alone_and_told(name: str, box: Box) -> None:
    assert why_ignored(name) == "a sync conflict copy"
    box.drop(name)
    listing = box.look()
    assert listing.drops == ()
    assert dict(listing.not_taken) == {name: "ignored: a sync conflict copy"}


@pytest.mark.parametrize("name", PEOPLES)
def test_what_only_looks_a_little_like_it_is_a_request(name: str) -> None:
    assert is_request(name)


@pytest.mark.parametrize("name", ["recycled cats", "alice", "download", "snapshots of cats", "found", "a.b", "Trash"])
def test_a_folder_of_a_persons_own_is_watched(name: str) -> None:
    assert is_watched(name)


def test_a_recycled_request_is_not_rendered(box: Box) -> None:
    file = box.drop("cat.json")
    assert paths(box.look()) == ["cat.json"]
    (box.path / "#recycle").mkdir()
    file.rename(box.path / "#recycle" / "cat.json")
    seen = [box.look() for _ in range(4)]
    assert [path for listing in seen for path in listing.vanished] == ["cat.json"]
    assert [paths(listing) for listing in seen] == [[]] * 4


def test_a_folder_that_is_left_alone_is_told_once_and_not_each_of_its_files(box: Box) -> None:
    for name in ("batch.tmp", "~drafts", "#recycle", "lost+found", ".hidden"):
        for file in ("a.json", "b.json"):
            box.drop(f"{name}/{file}")
    with capture_logs() as logs:
        for _ in range(5):
            listing = box.look()
    assert dict(listing.not_taken) == {
        "batch.tmp": "not looked into: a temporary file",
        "~drafts": "not looked into: a hidden or backup folder",
        "#recycle": "not looked into: a recycle bin",
    }
    assert sorted(line["path"] for line in logs if line["event"] == "left_alone") == [
        "#recycle",
        "batch.tmp",
        "~drafts",
    ]
    (box.path / "batch.tmp").rename(box.path / "batch")
    assert paths(box.look()) == ["batch/a.json", "batch/b.json"]
    assert "batch.tmp" not in dict(box.look().not_taken)


def test_a_bundle_that_is_still_written_is_taken_when_it_has_its_name(box: Box) -> None:
    box.drop("cat.json.download/cat.json")
    box.drop("cat.json.download/Info.plist")
    assert box.look().drops == ()
    (box.path / "cat.json.download" / "cat.json").rename(box.path / "cat.json")
    assert paths(box.look()) == ["cat.json"]


def test_a_linked_folder_is_told_as_a_link(box: Box, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cat.json").write_bytes(GOOD)
    (box.path / "linked").symlink_to(tmp_path / "elsewhere")
    assert dict(box.look().not_taken) == {"linked": "ignored: it is a link, and links are not followed"}


@pytest.mark.parametrize("name", sorted([*left_alone.FOLDERS, *left_alone.UNFINISHED]))
def test_the_page_about_shares_names_all_that_is_left_alone(name: str) -> None:
    section = DOCS.partition("## What is left alone")[2].partition("\n## ")[0]
    assert re.search(re.escape(f"`{name}`"), section, re.IGNORECASE)
