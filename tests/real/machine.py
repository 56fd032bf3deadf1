"""A machine of its own for a test: a real systemd in a container, over a throw-away copy of this machine's files.

Nothing that is done in it outlives it. Never boot a systemd on the real `/`: at start it empties /tmp.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).parents[2]
PROGRAM = "/opt/darkroom/.venv/bin/darkroom"
PYTHON = "/opt/darkroom/.venv/bin/python"
DEADLINE_S = 120.0
#: Loading PyTorch on a busy machine takes minutes.
TORCH_DEADLINE_S = 480.0
POLL_S = 0.1

#: Runs in a mount namespace of its own: what it mounts is gone when the container ends.
BOOT = r"""
set -e
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o size=16M tmpfs /run/systemd/nspawn
mount -t tmpfs -o size=1G tmpfs "$TOP"
mkdir "$TOP"/up "$TOP"/work "$TOP"/root
mount -t overlay -o lowerdir=/,upperdir="$TOP"/up,workdir="$TOP"/work overlay "$TOP"/root
cd "$TOP"/root
find etc/systemd/system -mindepth 1 -maxdepth 1 -exec rm -rf {} +
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' > etc/systemd/system/test.target
ln -s test.target etc/systemd/system/default.target
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-timesyncd.service systemd-resolved.service \
    systemd-networkd.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount; do
  ln -s /dev/null etc/systemd/system/$unit
done
echo "$NAME" > etc/hostname
: > etc/machine-id
: > etc/fstab
rm -rf var/log/journal opt srv mnt etc/darkroom var/lib/darkroom var/cache/darkroom
mkdir -p opt/python opt/packages srv mnt
cp -a "$HERE" opt/darkroom
exec systemd-nspawn --quiet --directory=. --boot --register=no --keep-unit --private-network --link-journal=no \
  --console=pipe --machine="$NAME" --bind=/dev/fuse --bind-ro="$PACKAGES":/opt/packages --bind-ro="$BASE":/opt/python \
  --system-call-filter=bpf --capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN
"""


class Machine:
    """A booted container, with a host name. Paths are its own; `root` shows them from outside."""

    def __init__(self, top: Path, name: str = "darkroom-test") -> None:
        self._top = top
        self._name = name
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0

    @property
    def root(self) -> Path:
        """Its file system, mounts included."""
        return Path(f"/proc/{self.leader}/root")

    def __enter__(self) -> Self:
        _lay_out_checkout(self._top / "darkroom")
        (self._top / "machine").mkdir()
        environment = {
            "NAME": self._name,
            "TOP": str(self._top / "machine"),
            "HERE": str(self._top / "darkroom"),
            "PACKAGES": sysconfig.get_path("purelib"),
            "BASE": sys.base_prefix,
        }
        with open(self._top / "console", "wb") as console:
            self._nspawn = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", "bash", "-c", BOOT],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self.wait_for(self._is_up, "the machine is up")
        # A Python may have been built to look for its library where it lay, and find another one instead.
        self.write("/etc/ld.so.conf.d/00-python.conf", "/opt/python/lib\n")
        self.run("ldconfig")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._nspawn is not None
        if self.leader and self._nspawn.poll() is None:
            os.kill(self.leader, signal.SIGRTMIN + 3)  # halt
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self._top / "console").read_text()
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        for pid in children:
            with suppress(FileNotFoundError, ProcessLookupError):  # one that has ended since
                if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                    self.leader = int(pid)
        return bool(self.leader) and self.run("systemctl", "is-system-running", check=False).stdout.strip() in (
            "running",
            "degraded",
        )

    # Commands -----------------------------------------------------------------------------------------------------

    def run(
        self, *command: str, user: str = "", check: bool = True, deadline_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as root or as somebody else with all groups of theirs."""
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        inside = ["nsenter", "--target", str(self.leader), "--all", "--wd", *become, *command]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(inside, capture_output=True, text=True, check=False, env=environment, timeout=deadline_s)
        assert not check or done.returncode == 0, (
            f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def darkroom(self, *words: str, user: str = "", check: bool = True) -> str:
        """Run the command; returns what it said."""
        done = self.run(PROGRAM, *words, user=user, check=check)
        return done.stdout + done.stderr

    def write(self, path: str, text: str) -> None:
        """Put a file there, with the folders above it."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def wait_for(self, condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
        """The first true value of a condition. Raises AssertionError when it does not come in time."""
        end_s = time.monotonic() + deadline_s
        while not (value := condition()):
            assert time.monotonic() < end_s, f"not within {deadline_s:g} s: {what}\n{self.last_words()}"
            time.sleep(POLL_S)
        return value

    def last_words(self) -> str:
        """What the service logged last, for a test that fails."""
        if not self.leader:
            return (self._top / "console").read_text()
        status = self.run("systemctl", "status", "darkroom", "--no-pager", "--lines=0", check=False).stdout
        return status + self.run("journalctl", "--no-pager", "--lines=40", "--output=cat", check=False).stdout

    # The service --------------------------------------------------------------------------------------------------

    def show(self, what: str) -> str:
        """A property of the service, as systemd knows it."""
        return self.run("systemctl", "show", "--value", "--property", what, "darkroom").stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The service's entries in the journal."""
        said = self.run("journalctl", "--no-pager", "--output=json", "--unit=darkroom", *matches).stdout
        return [json.loads(line) for line in said.splitlines()]

    def kill(self, signal_name: str, pid: str = "") -> None:
        """Send a signal to the service's main process, or to another one."""
        self.run("kill", f"-{signal_name}", pid or self.show("MainPID"))

    # Shares -------------------------------------------------------------------------------------------------------

    @contextmanager
    def share(self, source: str, place: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A FUSE share that shows one folder at another place. Stop its server, and the share hangs."""
        for folder in (source, place):
            (self.root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        command = ["bindfs", "-f", "-o", "allow_other,nonempty", *options, source, place]
        inside = ["nsenter", "--target", str(self.leader), "--mount", "--wd", *command]
        server = subprocess.Popen(inside, stderr=subprocess.DEVNULL)
        try:
            self.wait_for(lambda: self.is_mounted(place), f"{place} is mounted")
            yield server
        finally:
            server.send_signal(signal.SIGCONT)
            self.run("umount", place, check=False)
            server.terminate()
            server.wait(10)

    def is_mounted(self, place: str) -> bool:
        """Whether something is mounted there, for everybody in the machine."""
        return self.run("mountpoint", "--quiet", place, check=False).returncode == 0


def _lay_out_checkout(folder: Path) -> None:
    """A checkout with a virtual environment, as in /opt: our own code, the packages of ours."""
    site = folder / f".venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    site.mkdir(parents=True)
    (folder / ".venv/bin").mkdir()
    for name in ("daemon", "config", "systemd", "pyproject.toml"):
        subprocess.run(["cp", "-a", CHECKOUT / name, folder], check=True)
    (folder / ".venv/bin/python").symlink_to(f"/opt/python/bin/{Path(sys.executable).resolve().name}")
    (folder / ".venv/pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (site / "darkroom.pth").write_text("/opt/darkroom/daemon\n/opt/packages\n")
    program = folder / ".venv/bin/darkroom"
    program.write_text(f"#!{PYTHON}\nimport sys\nfrom darkroom.cli import main\nsys.exit(main())\n")
    program.chmod(0o755)
