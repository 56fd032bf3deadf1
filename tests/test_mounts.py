from pathlib import Path

import pytest

from darkroom.disk.mounts import UNKNOWN, expected_mount, kind_of, place_of, share_point
from darkroom.disk.nesting import nested

ROOT = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw"


def table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text("\n".join((ROOT, *lines)) + "\n")
    return path


def test_the_innermost_mount_holds_a_path_that_need_not_exist(tmp_path: Path) -> None:
    mounts = table(tmp_path, "40 27 0:50 / /mnt/nas rw - nfs4 nas:/export rw,vers=4.2")
    mount = kind_of(Path("/mnt/nas/inbox/new"), mount_table=mounts)
    assert (mount.source, mount.kind, mount.mount_point, mount.network) == ("nas:/export", "nfs4", "/mnt/nas", True)
    assert kind_of(Path("/mnt/nas2"), mount_table=mounts).kind == "ext4"


def test_a_mount_over_a_parent_hides_what_was_mounted_below_it(tmp_path: Path) -> None:
    mounts = table(tmp_path, "40 27 0:50 / /mnt/nas rw - nfs4 nas:/x rw", "41 27 8:1 / /mnt rw - xfs /dev/sdb1 rw")
    assert kind_of(Path("/mnt/nas/inbox"), mount_table=mounts).kind == "xfs"


def test_of_two_mounts_at_one_place_the_upper_counts(tmp_path: Path) -> None:
    mounts = table(tmp_path, "40 27 0:50 / /mnt rw - autofs systemd-1 rw", "41 40 0:51 / /mnt rw - cifs //nas/share rw")
    assert kind_of(Path("/mnt/inbox"), mount_table=mounts).source == "//nas/share"


def test_a_bind_mount_tells_which_folder_of_the_file_system_is_seen(tmp_path: Path) -> None:
    mounts = table(tmp_path, "40 27 254:0 /home/ann/drop /srv/inbox rw master:3 propagate_from:2 - ext4 /dev/vda rw")
    assert kind_of(Path("/srv/inbox"), mount_table=mounts).root == "/home/ann/drop"


def test_blanks_in_names_and_empty_sources_are_read(tmp_path: Path) -> None:
    mounts = table(tmp_path, "40 27 0:50 / /mnt/my\\040nas rw - cifs  rw")
    mount = kind_of(Path("/mnt/my nas/inbox"), mount_table=mounts)
    assert (mount.mount_point, mount.source) == ("/mnt/my nas", "")


@pytest.mark.parametrize(
    ("kind", "network"),
    [("ext4", False), ("btrfs", False), ("overlay", False), ("fuseblk", False), ("fuse.ntfs-3g", False)]
    + [(kind, True) for kind in ("nfs", "cifs", "smb3", "9p", "virtiofs", "fuse.sshfs", "fuse.rclone", "ceph")],
)
def test_whether_others_can_write_behind_our_back_follows_from_the_kind(
    kind: str, network: bool, tmp_path: Path
) -> None:
    mounts = table(tmp_path, f"40 27 0:50 / /mnt rw - {kind} x rw")
    assert kind_of(Path("/mnt/x"), mount_table=mounts).network is network


def test_a_link_is_followed_to_the_mount_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "inbox").symlink_to("/mnt/nas/inbox")
    mounts = table(tmp_path, "40 27 0:50 / /mnt/nas rw - nfs nas:/x rw")
    assert kind_of(tmp_path / "inbox", mount_table=mounts).kind == "nfs"


def test_without_a_mount_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert kind_of(Path("/srv"), mount_table=tmp_path / "missing") == UNKNOWN


def test_the_real_mount_table_knows_proc_and_the_root() -> None:
    assert kind_of(Path("/proc/self")).kind == "proc"
    assert kind_of(Path("/")).mount_point == "/"


def test_a_place_that_fstab_names_is_expected_until_something_is_mounted_there(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text("# comment /mnt\n/dev/vda / ext4 defaults 0 1\n\nnas:/x\t/mnt/my\\040nas\tnfs\tnofail 0 0\n")
    inbox = Path("/mnt/my nas/inbox")
    away = expected_mount(inbox, mount_table=table(tmp_path), fstab=fstab, unit_folders=())
    assert away == f"{fstab} mounts /mnt/my nas, and nothing is mounted there"
    mounted = table(tmp_path, "40 27 0:50 / /mnt/my\\040nas rw - nfs4 nas:/x rw")
    assert expected_mount(inbox, mount_table=mounted, fstab=fstab, unit_folders=()) is None
    assert expected_mount(Path("/srv"), mount_table=mounted, fstab=fstab, unit_folders=()) is None


def test_only_mount_points_below_a_folder_count_where_that_is_asked(tmp_path: Path) -> None:
    fstab, inbox = tmp_path / "fstab", Path("/srv/in")
    for place, expected in (("/srv", False), ("/srv/in", False), ("/srv/in/alice", True), ("/srv/in/alice/x", False)):
        fstab.write_text(f"nas:/x {place} nfs nofail 0 0\n")
        alice = inbox / "alice"
        why = expected_mount(alice, mount_table=table(tmp_path), fstab=fstab, unit_folders=(), below=inbox)
        assert (why is not None) is expected


def test_a_place_that_a_mount_unit_names_is_expected(tmp_path: Path) -> None:
    (tmp_path / "mnt-nas.mount").write_text("[Mount]\nWhat=nas:/x\nWhere=/mnt/nas\n")
    nothing = tmp_path / "no-fstab"
    why = expected_mount(Path("/mnt/nas/in"), mount_table=table(tmp_path), fstab=nothing, unit_folders=(tmp_path,))
    assert why == "mnt-nas.mount mounts /mnt/nas, and nothing is mounted there"


def test_a_folder_mounted_over_itself_is_no_mount(tmp_path: Path) -> None:
    """systemd does that to each folder of ReadWritePaths: the share that belongs there is still missing."""
    over_itself = "41 27 254:0 /srv/nas/inbox /srv/nas/inbox rw - ext4 /dev/vda rw"
    fstab = tmp_path / "fstab"
    fstab.write_text("nas:/x /srv/nas/inbox nfs nofail 0 0\n")
    inbox = Path("/srv/nas/inbox")
    empty = table(tmp_path, over_itself)
    assert expected_mount(inbox, mount_table=empty, fstab=fstab, unit_folders=()) is not None
    assert kind_of(inbox, mount_table=empty).mount_point == "/"
    mounted = table(tmp_path, over_itself, "42 41 0:50 / /srv/nas/inbox rw - nfs4 nas:/x rw")
    assert expected_mount(inbox, mount_table=mounted, fstab=fstab, unit_folders=()) is None
    assert kind_of(inbox, mount_table=mounted).kind == "nfs4"


def test_a_folder_of_a_share_is_the_same_share_when_it_is_mounted_over_itself(tmp_path: Path) -> None:
    share = "40 27 0:50 /export /srv/nas rw - nfs4 nas:/export rw"
    plain = kind_of(Path("/srv/nas/inbox"), mount_table=table(tmp_path, share))
    over_itself = "41 40 0:50 /export/inbox /srv/nas/inbox rw - nfs4 nas:/export rw"
    assert kind_of(Path("/srv/nas/inbox"), mount_table=table(tmp_path, share, over_itself)) == plain


def test_another_folder_of_the_same_disk_mounted_there_is_a_mount(tmp_path: Path) -> None:
    bound = table(tmp_path, "41 27 254:0 /home/ann/drop /srv/inbox rw - ext4 /dev/vda rw")
    fstab = tmp_path / "fstab"
    fstab.write_text("/home/ann/drop /srv/inbox none bind 0 0\n")
    assert expected_mount(Path("/srv/inbox"), mount_table=bound, fstab=fstab, unit_folders=()) is None
    assert kind_of(Path("/srv/inbox"), mount_table=bound).root == "/home/ann/drop"


def test_a_share_is_named_by_its_mount_point_mounted_or_not(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text("nas:/x /mnt/nas nfs nofail 0 0\n")
    here = {"mount_table": table(tmp_path), "fstab": fstab, "unit_folders": ()}
    assert share_point(Path("/mnt/nas/darkroom/inbox"), **here) == "/mnt/nas"  # type: ignore[arg-type]
    here["mount_table"] = table(tmp_path, "40 27 0:50 / /mnt/usb rw - ext4 /dev/sdb1 rw")
    assert share_point(Path("/mnt/usb/inbox"), **here) == "/mnt/usb"  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["/", "/home", "/srv", "/var"])
def test_what_is_mounted_as_long_as_the_system_runs_is_no_share(place: str, tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(f"/dev/vdb {place} ext4 defaults 0 2\n")
    mounted = table(tmp_path, f"40 27 254:16 / {place} rw - ext4 /dev/vdb rw")
    inbox = Path(place) / "darkroom/inbox"
    assert share_point(inbox, mount_table=mounted, fstab=fstab, unit_folders=()) is None


# Folders in each other -----------------------------------------------------------------------------------------------

BOUND = "40 27 254:0 /srv/in/ann /mnt/out rw - ext4 /dev/vda rw"
SUBVOLUME = "41 27 0:30 /@drop /srv/in rw - btrfs /dev/sdb rw", "42 27 0:30 /@drop/ann /mnt/out rw - btrfs /dev/sdb rw"
OTHER_DISK = "40 27 8:1 /srv/in/ann /mnt/out rw - ext4 /dev/sdb1 rw"


@pytest.mark.parametrize(
    ("rows", "inbox", "outbox", "told"),
    [
        ([BOUND], "/srv/in", "/mnt/out", "the outbox /mnt/out is inside the inbox /srv/in"),
        ([BOUND], "/srv/in", "/mnt/out/deep", "the outbox /mnt/out/deep is inside the inbox /srv/in"),
        ([BOUND], "/srv/in/ann", "/mnt/out", "the outbox /mnt/out is the same folder as the inbox /srv/in/ann"),
        ([BOUND], "/mnt/out/x", "/srv/in/ann", "the inbox /mnt/out/x is inside the outbox /srv/in/ann"),
        ([BOUND], "/srv/in/anna", "/mnt/out", None),
        ([*SUBVOLUME], "/srv/in", "/mnt/out", "the outbox /mnt/out is inside the inbox /srv/in"),
        ([OTHER_DISK], "/srv/in", "/mnt/out", None),
    ],
)
def test_what_is_mounted_elsewhere_lies_where_its_file_system_says(
    rows: list[str], inbox: str, outbox: str, told: str | None, tmp_path: Path
) -> None:
    said = list(nested({"inbox": Path(inbox), "outbox": Path(outbox)}, mount_table=table(tmp_path, *rows)))
    assert said == ([f"{told}, whatever links or mounts call it."] if told else [])


def test_where_no_mount_table_tells_nothing_lies_in_anything(tmp_path: Path) -> None:
    nowhere = tmp_path / "missing"
    assert place_of(Path("/srv/in"), mount_table=nowhere)[0] == ""
    assert list(nested({"inbox": Path("/srv/in"), "outbox": Path("/srv/in/x")}, mount_table=nowhere)) == []
