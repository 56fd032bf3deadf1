"""Real servers on loopback or in a network namespace of their own, each ended by its process id."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from darkroom.testing.waiting import wait_for

HOST = "127.0.0.1"
PORTS, PORTS_EACH = 22_000, 500  #: the first one, and how many each worker has
_handed_out = count()


def need(program: str) -> str:
    """The path of a program. Fails when it is missing: nothing is skipped."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert found is not None, f"{program} is missing; `make test-real` installs what is needed"
    return found


def free_port() -> int:
    """A port of loopback that nobody has now, and that neither a client nor another worker will get."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = PORTS + worker * PORTS_EACH
    for _ in range(PORTS_EACH):
        port = first + next(_handed_out) % PORTS_EACH
        with socket.socket() as one:
            if one.connect_ex((HOST, port)) != 0:
                return port
    raise AssertionError(f"no port from {first} on is free")


def run(*command: str, check: bool = True, environment: Mapping[str, str] | None = None) -> str:
    """Run a client's command to its end. Returns what it printed; fails with that when it fails."""
    done = subprocess.run(
        [need(command[0]), *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=None if environment is None else os.environ | dict(environment),
        timeout=100,
        check=False,
    )
    assert not check or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@contextmanager
def process(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs in the foreground; SIGTERM at the end, SIGKILL if that does not help."""
    with open(log, "ab") as output:
        running = subprocess.Popen(
            [need(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else os.environ | dict(environment),
            start_new_session=True,
        )
    try:
        yield running
    finally:
        end(running)


def end(running: subprocess.Popen[bytes], *, patience_s: float = 10.0) -> None:
    """SIGTERM, then SIGKILL, and wait; fine when it has ended."""
    if running.poll() is None:
        running.terminate()
    try:
        running.wait(patience_s)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGKILL)
        running.wait()


def wait_until_up(server: subprocess.Popen[bytes], log: Path, probe: Sequence[str]) -> None:
    """Wait until a client's command succeeds."""

    def up() -> bool:
        assert server.poll() is None, f"{server.args!r} ended:\n{log.read_text(errors='replace')}"
        probing = subprocess.run([need(probe[0]), *probe[1:]], capture_output=True, check=False, timeout=20)
        return probing.returncode == 0

    wait_for(up, f"{probe[0]} reaches its server")


# rsync ----------------------------------------------------------------------------------------------------------------


@contextmanager
def rsync_daemon(root: Path, scratch: Path) -> Iterator[str]:
    """Serve `root` as an rsync module; gives the module's URL."""
    port = free_port()
    config = scratch / "rsyncd.conf"
    config.write_text(
        f"port = {port}\naddress = {HOST}\nuse chroot = no\npid file = {scratch}/rsyncd.pid\n"
        f"log file = {scratch}/rsyncd.log\n[share]\npath = {root}\nread only = no\nuid = root\ngid = root\n"
    )
    url = f"rsync://{HOST}:{port}/share"
    log = scratch / "rsync.out"
    with process(["rsync", "--daemon", "--no-detach", f"--config={config}"], log) as server:
        wait_until_up(server, log, ["rsync", f"{url}/"])
        yield url


# Samba ----------------------------------------------------------------------------------------------------------------


@contextmanager
def samba(root: Path, scratch: Path) -> Iterator[int]:
    """Serve `root` as the share `share` to guests; gives the port."""
    port = free_port()
    folders = {"private": "private dir", "pid": "pid directory", "ncalrpc": "ncalrpc dir"}
    folders |= {each: f"{each} directory" for each in ("lock", "state", "cache")}
    for folder in folders:
        (scratch / folder).mkdir()
    settings = {
        "server role": "standalone server",
        "workgroup": "REAL",
        "interfaces": "127.0.0.1/8",
        "bind interfaces only": "yes",
        "smb ports": port,
        "disable netbios": "yes",
        "map to guest": "Bad User",
        "guest account": "nobody",
        "load printers": "no",
        "printing": "bsd",
        "disable spoolss": "yes",
        "server min protocol": "SMB2",
        "smb2 max write": 65536,  # so that a request can be broken off between two writes
    } | {key: scratch / folder for folder, key in folders.items()}
    lines = [f" {key} = {value}" for key, value in settings.items()]
    share = f"[share]\n path = {root}\n read only = no\n guest ok = yes\n force user = root\n"
    (scratch / "smb.conf").write_text("\n".join(["[global]", *lines, share]))
    log = scratch / "smbd.log"
    command = ["smbd", "--foreground", "--no-process-group", "--debug-stdout", "-s", str(scratch / "smb.conf")]
    with process(command, log) as server:
        wait_until_up(server, log, ["smbclient", f"//{HOST}/share", "-p", str(port), "-N", "-q", "-c", "ls"])
        yield port


# SSH ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ssh:
    """A server that knows one key; `config` is the client's, the host is called `real`."""

    config: Path
    port: int
    key: Path
    server: subprocess.Popen[bytes]


@contextmanager
def sshd(scratch: Path) -> Iterator[Ssh]:
    """An SSH server with keys of its own, for this user."""
    scratch.chmod(0o700)
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    for key in ("host", "id"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(scratch / key))
    (scratch / "sshd_config").write_text(
        f"ListenAddress {HOST}:{port}\nHostKey {scratch}/host\nPidFile {scratch}/sshd.pid\n"
        f"AuthorizedKeysFile {scratch}/id.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
    )
    config = scratch / "config"
    config.write_text(
        f"Host real\n HostName {HOST}\n Port {port}\n User root\n IdentityFile {scratch}/id\n"
        f" UserKnownHostsFile {scratch}/known\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n"
    )
    log = scratch / "sshd.log"
    with process(["sshd", "-D", "-e", "-f", str(scratch / "sshd_config")], log) as server:
        wait_until_up(server, log, ["ssh", "-F", str(config), "real", "true"])
        yield Ssh(config, port, scratch / "id", server)


# Mounts ---------------------------------------------------------------------------------------------------------------


@contextmanager
def sshfs(ssh: Ssh, source: Path, place: Path, *options: str) -> Iterator[None]:
    """`source` of the SSH server, seen at `place`."""
    command = ["sshfs", "-f", "-F", str(ssh.config), f"real:{source}", str(place)]
    with fuse_mount([*command, *(word for each in options for word in ("-o", each))], place):
        yield


@contextmanager
def rclone(ssh: Ssh, source: Path, place: Path, scratch: Path, *options: str) -> Iterator[None]:
    """The same through rclone and its cache of files."""
    scratch.mkdir()
    config = scratch / "rclone.conf"
    config.write_text(
        f"[real]\ntype = sftp\nhost = {HOST}\nport = {ssh.port}\nuser = root\nkey_file = {ssh.key}\nshell_type = none\n"
    )
    command = ["rclone", "--config", str(config), "mount", f"real:{source}", str(place)]
    with fuse_mount([*command, "--cache-dir", str(scratch / "cache"), *options], place):
        yield


@contextmanager
def fuse_mount(command: Sequence[str], place: Path) -> Iterator[None]:
    """A FUSE server in the foreground; unmounted, and ended, at the end."""
    place.mkdir(parents=True, exist_ok=True)
    log = place.with_name(f"{place.name}.mount.log")
    with process(command, log) as server:

        def mounted() -> bool:
            assert server.poll() is None, f"{server.args!r} ended:\n{log.read_text(errors='replace')}"
            return os.path.ismount(place)

        wait_for(mounted, f"{place} is mounted")
        try:
            yield
        finally:
            run("fusermount3", "-u", "-z", str(place), check=False)


# NFS ------------------------------------------------------------------------------------------------------------------

NFS_PORT, MOUNT_PORT = 20490, 20491  # in a network namespace of their own


@dataclass(frozen=True)
class Nfs:
    """An NFS server in a network namespace; `inside` is put before a client's command."""

    inside: tuple[str, ...]
    export: str
    options: str

    def url(self, path: str) -> str:
        """What nfs-cp and libnfs call a file."""
        return f"nfs://{HOST}{self.export}/{path}?{self.options}"


@contextmanager
def nfs(root: Path, scratch: Path, *, version: int) -> Iterator[Nfs]:
    """nfs-ganesha on `root`, and the portmapper that version 3 needs; both alone in their network."""
    Path("/var/run/ganesha").mkdir(exist_ok=True)
    (scratch / "recovery").mkdir()
    (scratch / "ganesha.conf").write_text(
        f"NFS_CORE_PARAM {{ NFS_Port = {NFS_PORT}; MNT_Port = {MOUNT_PORT}; Bind_addr = {HOST}; Protocols = 3,4;"
        " Enable_NLM = false; Enable_RQUOTA = false; }\n"
        f"NFSv4 {{ Graceless = true; RecoveryRoot = {scratch}/recovery; }}\n"
        f"EXPORT {{ Export_Id = 1; Path = {root}; Pseudo = /share; Access_Type = RW; Squash = No_Root_Squash;"
        " Transports = TCP; SecType = sys; Protocols = 3,4; FSAL { Name = VFS; }"
        " CLIENT { Clients = *; Access_Type = RW; } }\n"
    )
    export, options = (str(root), f"nfsport={NFS_PORT}&mountport={MOUNT_PORT}")
    if version == 4:
        export, options = "/share", f"version=4&nfsport={NFS_PORT}"
    with ExitStack() as stack:
        inside = stack.enter_context(network_namespace(f"darkroom{os.getpid()}v{version}"))
        served = Nfs(inside, export, options)
        stack.enter_context(process([*inside, "rpcbind", "-f"], scratch / "rpcbind.log"))
        wait_for(lambda: _knows_rpc(inside), "rpcbind answers")
        log = scratch / "ganesha.log"
        command = ["ganesha.nfsd", "-F", "-L", str(log), "-f", str(scratch / "ganesha.conf")]
        command += ["-p", str(scratch / "ganesha.pid"), "-N", "NIV_EVENT"]
        log.touch()
        server = stack.enter_context(process([*inside, *command], scratch / "ganesha.out"))
        wait_until_up(server, log, [*inside, "nfs-ls", served.url("")])
        yield served


def _knows_rpc(inside: Sequence[str]) -> bool:
    probing = subprocess.run([*inside, "rpcinfo", "-p", HOST], capture_output=True, check=False)
    return probing.returncode == 0


@contextmanager
def network_namespace(name: str) -> Iterator[tuple[str, ...]]:
    """A network with nothing in it but loopback; gives what is put before a command to run it there."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        # A machine without any other address cannot look up 127.0.0.1 (AI_ADDRCONFIG), so it gets a cable to itself.
        run("ip", "link", "add", "one", "netns", name, "type", "veth", "peer", "name", "two", "netns", name)
        run("ip", "-n", name, "address", "add", "10.99.0.1/24", "dev", "one")
        for end_of_cable in ("one", "two"):
            run("ip", "-n", name, "link", "set", end_of_cable, "up")
        yield ("ip", "netns", "exec", name)
    finally:
        run("ip", "netns", "delete", name)
