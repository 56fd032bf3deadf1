"""The tools that people send requests with, each behind the same few words: send, begin, resume, fetch."""

import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from darkroom.testing.waiting import wait_for
from tests.real.servers import HOST, Nfs, Ssh, end, need, nfs, rsync_daemon, run, samba, sshd

NFS_CLIENT = Path(__file__).with_name("nfs_client.py")


class Client(ABC):
    """A tool on another machine that sees a share with `inbox` and `outbox` in it. `local` files lie there."""

    name: str

    @abstractmethod
    def send(self, local: Path, path: str) -> None:
        """Copy a file to `path` on the share, over what is there."""

    def send_all(self, folder: Path) -> None:
        """Copy every file of a folder into the inbox, in one go where the tool can."""
        for local in sorted(folder.iterdir()):
            self.send(local, f"inbox/{local.name}")

    @abstractmethod
    def break_off(self, local: Path, path: str, arrived: Path) -> None:
        """Begin to copy a file, and die when a part of it has arrived."""

    @abstractmethod
    def resume(self, local: Path, path: str) -> None:
        """Go on with what has been broken off, as this tool does."""

    @abstractmethod
    def fetch(self, path: str, into: Path) -> None:
        """Copy the files of a folder of the share into an empty local folder."""


class Rsync(Client):
    """rsync to an rsync server, `--inplace`: a file that is broken off stays under its name, cut short."""

    name = "rsync"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, local: Path, path: str) -> None:
        run("rsync", "-a", str(local), f"{self._url}/{path}")

    def send_all(self, folder: Path) -> None:
        run("rsync", "-a", f"{folder}/", f"{self._url}/inbox/")

    def break_off(self, local: Path, path: str, arrived: Path) -> None:
        command = [need("rsync"), "-a", "--inplace", "--bwlimit=200", str(local), f"{self._url}/{path}"]
        break_off_when_partly_there(command, arrived)

    def resume(self, local: Path, path: str) -> None:
        run("rsync", "-a", "--append-verify", str(local), f"{self._url}/{path}")

    def fetch(self, path: str, into: Path) -> None:
        run("rsync", "-a", f"{self._url}/{path}/", f"{into}/")


class Smb(Client):
    """smbclient to Samba."""

    name = "Samba, smbclient put"

    def __init__(self, port: int) -> None:
        self._command = ["smbclient", f"//{HOST}/share", "-p", str(port), "-N", "-q", "-c"]

    def do(self, *commands: str) -> str:
        """smbclient's own commands."""
        return run(*self._command, "; ".join(commands))

    def send(self, local: Path, path: str) -> None:
        self.do(f'put "{local}" "{path}"')

    def send_all(self, folder: Path) -> None:
        self.do(f'lcd "{folder}"', "cd inbox", "prompt", "mput *")

    def break_off(self, local: Path, path: str, arrived: Path) -> None:
        half_way = local.read_bytes()[: local.stat().st_size // 2]
        command = [need(self._command[0]), *self._command[1:], f'put - "{path}"']
        break_off_when_partly_there(command, arrived, given=half_way)

    def resume(self, local: Path, path: str) -> None:
        self.send(local, path)  # smbclient 4.17's `reput` writes the rest to the start of the file

    def fetch(self, path: str, into: Path) -> None:
        self.do(f'lcd "{into}"', f'cd "{path}"', "prompt", "mget *")


class Sftp(Client):
    """sftp to an SSH server."""

    name = "SFTP, sftp put"

    def __init__(self, ssh: Ssh, share: Path) -> None:
        self._config, self._share = str(ssh.config), share

    def do(self, *commands: str) -> str:
        """sftp's own commands; ends at the first that fails."""
        command = ["sftp", "-F", self._config, "-b", "-", "real"]
        done = subprocess.run(
            [need(command[0]), *command[1:]],
            input="".join(f"{each}\n" for each in commands),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def send(self, local: Path, path: str) -> None:
        self.do(f'put "{local}" "{self._share}/{path}"')

    def send_all(self, folder: Path) -> None:
        self.do(f'put "{folder}"/* "{self._share}/inbox/"')

    def break_off(self, local: Path, path: str, arrived: Path) -> None:
        batch = local.with_suffix(".batch")
        batch.write_text(f'put "{local}" "{self._share}/{path}"\n')
        command = [need("sftp"), "-F", self._config, "-l", "1600", "-b", str(batch), "real"]
        break_off_when_partly_there(command, arrived)

    def resume(self, local: Path, path: str) -> None:
        self.do(f'reput "{local}" "{self._share}/{path}"')

    def fetch(self, path: str, into: Path) -> None:
        self.do(f'get "{self._share}/{path}"/* "{into}/"')


class NfsCopy(Client):
    """nfs-cp to an NFS server, and a client of our own on its library for what nfs-cp cannot do: replace and append."""

    def __init__(self, server: Nfs, share: Path, *, version: int) -> None:
        self.name = f"NFSv{version}, nfs-cp"
        self._server, self._share = server, share

    def send(self, local: Path, path: str) -> None:
        if (self._share / path).exists():
            self._own(local.read_bytes(), "replace", path)
        else:
            run(*self._server.inside, "nfs-cp", str(local), self._server.url(path))

    def rename(self, old: str, new: str) -> None:
        """Rename over what is there."""
        self._own(b"", "rename", old, new)

    def break_off(self, local: Path, path: str, arrived: Path) -> None:
        half_way = local.read_bytes()[: local.stat().st_size // 2]
        break_off_when_partly_there(self._own_command("append", path), arrived, given=half_way)

    def resume(self, local: Path, path: str) -> None:
        self._own(local.read_bytes()[(self._share / path).stat().st_size :], "append", path)

    def fetch(self, path: str, into: Path) -> None:
        listing = run(*self._server.inside, "nfs-ls", self._server.url(path))
        names = [line.split()[-1] for line in listing.splitlines() if line.startswith("-")]
        for name in names:
            run(*self._server.inside, "nfs-cp", self._server.url(f"{path}/{name}"), str(into / name))

    def _own_command(self, command: str, *paths: str) -> list[str]:
        return [*self._server.inside, sys.executable, str(NFS_CLIENT), command, self._server.url(""), *paths]

    def _own(self, given: bytes, command: str, *paths: str) -> None:
        done = subprocess.run(self._own_command(command, *paths), input=given, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()


def break_off_when_partly_there(
    command: list[str], arrived: Path, *, given: bytes | None = None, by: signal.Signals = signal.SIGKILL
) -> None:
    """Run a client and end it half-way: slowed down, or with only the start of its standard input `given`.

    The name of `arrived` may be a pattern: a part of it may arrive under a hidden name.
    """
    client = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert client.stdin is not None
    try:
        if given is not None:
            client.stdin.write(given)
            client.stdin.flush()
        wait_for(lambda: _size(arrived) > 0, f"a part of {arrived.name} has arrived")
        assert client.poll() is None, f"{command[0]} was done before it could be broken off"
        client.send_signal(by)
        client.wait()
    finally:
        client.stdin.close()
        end(client)


def _size(arrived: Path) -> int:
    try:
        return sum(each.stat().st_size for each in arrived.parent.glob(arrived.name))
    except FileNotFoundError:
        return 0


@contextmanager
def client_of(kind: str, share: Path, scratch: Path) -> Iterator[Client]:
    """A server on `share` and a client of it."""
    match kind:
        case "rsync":
            with rsync_daemon(share, scratch) as url:
                yield Rsync(url)
        case "smb":
            with samba(share, scratch) as port:
                yield Smb(port)
        case "sftp":
            with sshd(scratch) as ssh:
                yield Sftp(ssh, share)
        case "nfs3" | "nfs4":
            version = int(kind[-1])
            with nfs(share, scratch, version=version) as server:
                yield NfsCopy(server, share, version=version)
        case _:
            raise AssertionError(f"no client is called {kind}")
