"""What systems and programs put beside people's requests, by name: never looked into, never taken.

Each line names whose it is and where that is told; docs/shares.md lists them for people, and a test holds both
together.
"""

from __future__ import annotations

import re

#: Folders that systems keep: recycle bins, snapshots, thumbnails. Matched without regard to case.
FOLDERS: dict[str, str] = {
    # Synology DSM: kb.synology.com, "Recycle Bin", "Make snapshot visible"; @eaDir holds indexes and thumbnails
    "#recycle": "a recycle bin",
    "#snapshot": "snapshots",
    "@eadir": "a folder of the NAS's own",
    "@tmp": "a folder of the NAS's own",
    "@sharebin": "a recycle bin",
    "@sharesnap": "snapshots",
    # QNAP QTS: docs.qnap.com, "Network Recycle Bin", "Snapshot Directory"
    "@recycle": "a recycle bin",
    "@recently-snapshot": "snapshots",
    "network recycle bin": "a recycle bin",
    # ASUSTOR, TerraMaster, Buffalo, Western Digital, Netgear, Zyxel: their manuals, "recycle bin"
    "trashbox": "a recycle bin",
    "recycle bin": "a recycle bin",
    "recycle": "a recycle bin",
    # Samba: vfs_recycle(8); `.recycle` by default, `#recycle`, `@Recycle`, `Recycle.Bin` by what people set
    "recycle.bin": "a recycle bin",
    # Windows: learn.microsoft.com, "File system redirectors"; RECYCLER on NTFS before Vista, RECYCLED on FAT
    "$recycle.bin": "a recycle bin",
    "recycler": "a recycle bin",
    "recycled": "a recycle bin",
    "system volume information": "a folder that the operating system keeps",
    "$extend": "a folder that the operating system keeps",
    # macOS on a share: Apple's "Network Trash Folder" and "Temporary Items" of AFP and SMB
    "network trash folder": "a recycle bin",
    "temporary items": "a folder that the operating system keeps",
    "thevolumesettingsfolder": "a folder that the operating system keeps",
    # Linux: mke2fs(8), mklost+found(8)
    "lost+found": "a folder that the file system keeps",
    # Android, on cards and sticks: source.android.com, "fsck_msdos"
    "lost.dir": "a folder that the file system keeps",
    # Windows' DFS Replication: learn.microsoft.com, "DfsrPrivate": conflicts, deleted and staged files
    "dfsrprivate": "a folder that the operating system keeps",
    # GoodSync: goodsync.com/manual, "_gsdata_": what it has replaced and deleted
    "_gsdata_": "what a sync program keeps",
    # NetApp: docs.netapp.com, "~snapshot" over SMB and ".snapshot" over NFS
    "~snapshot": "snapshots",
    # Programs that take folders apart: macOS' Archive Utility, zip files that were made there
    "__macosx": "what macOS adds to an archive",
}
#: Folders that systems number: Windows' chkdsk, QNAP's and ASUSTOR's further volumes, WD My Cloud's volumes.
_NUMBERED_FOLDERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"found\.\d{3}"), "what a disk check has found"),
    (re.compile(r"network recycle bin \d+"), "a recycle bin"),
    (re.compile(r"recycle bin - .+"), "a recycle bin"),
    (re.compile(r"@gmt-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d"), "a snapshot"),  # vfs_shadow_copy2(8)
)
#: Files that systems keep: Windows' thumbnails and folder settings, macOS' folder icons.
FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})

#: Endings of what is not whole yet, of files and of folders.
UNFINISHED: dict[str, str] = {
    ".tmp": "a temporary file",
    ".part": "an unfinished download",  # Firefox, KDE, Nextcloud, JDownloader
    ".partial": "an unfinished download",  # rclone, curl's users, Edge before 2020
    ".filepart": "an unfinished upload",  # WinSCP
    ".crdownload": "an unfinished download",  # Chrome, Edge, Brave
    ".opdownload": "an unfinished download",  # Opera
    ".download": "an unfinished download",  # Safari: a folder until it is whole
    ".fdmdownload": "an unfinished download",  # Free Download Manager
    ".dtapart": "an unfinished download",  # DownThemAll
    ".aria2": "an unfinished download",  # aria2's control file
    ".!ut": "an unfinished download",  # uTorrent
    ".!qb": "an unfinished download",  # qBittorrent
    ".bc!": "an unfinished download",  # BitComet
    ".ffs_tmp": "an unfinished copy",  # FreeFileSync
    ".swp": "an editor's swap file",
    ".swo": "an editor's swap file",
    ".swx": "an editor's swap file",
    "___jb_tmp___": "a temporary file",  # JetBrains' editors, "safe write"
    "___jb_old___": "a backup file",
}
_ENDINGS = tuple(UNFINISHED)
_SAFE_SAVE = (
    re.compile(r"\.sb-[0-9a-f]{8}-[A-Za-z0-9]{6}$"),  # NSDocument in a sandbox: "cat.json.sb-1a2b3c4d-XyZ123"
    re.compile(r"^\(A Document Being Saved By .+\)$"),  # NSFileManager, itemReplacementDirectory
)

#: What every conflict copy has in its name.
_SMELLS = re.compile(r"confl|konfl|конфл|clash|競合|冲突|衝突|\.\.path|desktop-|laptop-|safebackup")
_COPY = r"conflict(?:ed|ing)? copy"
#: Conflict copies of sync programs, by the name without `.json`. Only what is sure: `cat (1).json` and `cat 2.json`, as
#: Google Drive, Box and iCloud call theirs, may be a person's own copy.
_CONFLICTS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Syncthing: docs.syncthing.net/users/syncing.html, "Conflicting Changes"
        r"\.sync-conflict-\d",
        # Nextcloud and ownCloud: sync/utility.cpp, makeConflictFileName; before version 2.5 "_conflict-DATE-TIME"
        rf"\({_COPY}(?: .+)? \d{{4}}-\d\d-\d\d \d+\)$",
        r"_conflict-\d{8}-\d{6}$",
        r"\(case clash from .+\)$",
        # Dropbox: help.dropbox.com, "conflicted copy", and its names in other languages
        rf"\((?:.+ )?{_COPY}(?: .+)?\)$",
        r"\((?:in konflikt stehende kopie|copie en conflit|conflicterende kopie)(?: .+)?\)$",
        r"\((?:copia en conflicto|copia in conflitto)(?: .+)?\)$",
        r"\((?:kopia powodująca konflikt|cópia em conflito|конфликтующая копия)(?: .+)?\)$",
        r"[(（].*(?:競合コピー|冲突副本|衝突複本|冲突文件).*[)）]$",  # Nutstore as well
        r"\((?:case|selective sync|unicode encoding|whitespace) conflict(?: \d+)?\)$",
        # Seafile: daemon/clone-mgr.c and its manual, "SFConflict"
        r"\(sfconflict .+\)$",
        # Resilio Sync: help.resilio.com, "Conflict files"
        r"\.conflict(?:\(\d+\)| \d+)?$",
        # Cozy Drive, Twake: cozy-desktop, core/utils/conflicts.js
        r"-conflict-\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d(?:\.\d+)?Z$",
        # rclone bisync: rclone.org/bisync, --conflict-suffix; before 1.66 "..path1"
        r"\.conflict\d+$",
        r"\.\.path[12]$",
        # Synology Drive: kb.synology.com, "file conflict": NAME_CLIENT_Jan-03-0901-2013_CaseConflict_1
        r"_[a-z]{3}-\d\d-\d{4}-\d{4}_\w*conflict(?:_\d+)?$",
        # FileCloud Sync: getfilecloud.com, "Managing Sync Conflicts": NAME(Conflict_alice_2020-03-25-22-50-36)
        r"\(conflict_.+_\d{4}(?:-\d\d){5}\)$",
        # Google Drive and Insync: "[Conflict]"
        r"[\[(]conflict(?: \d+)?[\])]$",
        # pCloud: "[conflicted]", "(conflicted)"
        r"[\[(]conflicted(?: \d+)?[\])]$",
        # Proton Drive: "(# Edit conflict 2024-01-01 abc #)", "(# Name clash … #)"
        r"\(# (?:edit conflict|name clash) .+ #\)$",
        # OneDrive: support.microsoft.com, the computer's name is added; here those names that Windows itself gives
        r"-(?-i:DESKTOP-[A-Z0-9]{7}|LAPTOP-[A-Z0-9]{8})(?:-\d+)?$",
        # onedrive, the Linux client: its docs, "safeBackup"
        r"-safebackup-\d{4}$",
        # Tresorit: "(conflicting version from …)", MEGA: "(conflict …)"
        r"\(conflict(?:ed|ing)? version(?: .+)?\)$",
        # Unison: manual, "copyonconflict": "(conflict #1 on 2026-01-01)"
        r"\(.*conflict(?: #?\d+)? on \d{4}-\d\d-\d\d\)$",
        # Box Drive: "(Conflict - alice)"
        r"\(conflict - .+\)$",
    )
)


def why_system_folder(name: str) -> str | None:
    """Why a folder of this name is a system's own; None when it is not."""
    lower = name.lower()
    numbered = (why for pattern, why in _NUMBERED_FOLDERS if pattern.fullmatch(lower))
    return FOLDERS.get(lower) or next(numbered, None)


def why_unfinished(name: str) -> str | None:
    """Why a file or a folder of this name is not whole yet; None when its name does not say so."""
    lower = name.lower()
    if any(pattern.search(name) for pattern in _SAFE_SAVE):
        return "what a program is just saving"
    if not lower.endswith(_ENDINGS):
        return None
    return next((why for ending, why in UNFINISHED.items() if lower.endswith(ending)), None)


def is_conflict_copy(name: str) -> bool:
    """Whether a sync program has given a file this name because two people changed it."""
    if _SMELLS.search(name.lower()) is None:  # each of a hundred thousand names is asked
        return False
    stem = re.sub(r"\.json$", "", name, flags=re.IGNORECASE)
    return any(pattern.search(stem) for pattern in _CONFLICTS)
