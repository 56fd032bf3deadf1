"""A model hub on this machine: it serves one folder as the repository `MODEL`, refuses `GATED`, and knows no other."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path
from typing import Any

MODEL = "somebody/tiny"
GATED = "somebody/gated"

#: The one commit of `MODEL`.
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class TinyHub:
    """Set HF_ENDPOINT to `url` before a renderer starts."""

    def __init__(self, folder: Path) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.folder = folder
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def asked(self) -> list[str]:
        """The paths that were asked for, in order."""
        return self._server.asked

    @property
    def sent(self) -> list[str]:
        """The files that were sent, in order."""
        return self._server.sent

    @property
    def ranges(self) -> list[tuple[str, str]]:
        """The files of which a part was asked for, and which part."""
        return self._server.ranges

    def cut(self, name: str, after_bytes: int) -> None:
        """From now on this file ends there, and the rest of it can't be had; 0: all of them come whole again."""
        self._server.cuts = {name: after_bytes} if after_bytes else {}

    def close(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    folder: Path
    asked: list[str]
    sent: list[str]
    ranges: list[tuple[str, str]]
    cuts: dict[str, int]

    def __init__(self, *arguments: Any) -> None:
        self.asked, self.sent, self.ranges, self.cuts = [], [], [], {}
        super().__init__(*arguments)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path.startswith(f"/{MODEL}/resolve/"):
            self._send_file(path.split("/", 5)[5])
        elif path.startswith(f"/api/models/{MODEL}/tree/"):
            self._send([self._listed(file) for file in self._files()])
        elif path.startswith(f"/api/models/{MODEL}"):
            names = [str(file.relative_to(self.server.folder)) for file in self._files()]
            self._send({"id": MODEL, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]})
        elif path.startswith(f"/api/models/{GATED}"):
            self._send({"error": "Access is restricted"}, 403, error_code="GatedRepo")
        else:
            self._send({"error": "Repository not found"}, 404, error_code="RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: Any) -> None:
        """Nothing: `asked` tells more."""

    def _files(self) -> list[Path]:
        return sorted(file for file in self.server.folder.rglob("*") if file.is_file())

    def _listed(self, file: Path) -> dict[str, Any]:
        name = str(file.relative_to(self.server.folder))
        return {"type": "file", "path": name, "size": file.stat().st_size, "oid": _etag(file.read_bytes())}

    def _send_file(self, name: str) -> None:
        file = self.server.folder / name
        if file not in self._files():
            self._send({"error": "Entry not found"}, 404, error_code="EntryNotFound")
            return
        self.server.sent += [name] if self.command == "GET" else []
        part = self.headers.get("Range", "")
        if part and self.command == "GET":
            self.server.ranges.append((name, part))
            self._send_part(name, file.read_bytes(), int(part.removeprefix("bytes=").rstrip("-")))
        else:
            self._send(file.read_bytes(), ends=self.server.cuts.get(name))

    def _send_part(self, name: str, content: bytes, begin: int) -> None:
        if name in self.server.cuts:
            self._send({"error": "Nothing more of it"}, 403)
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[begin:])

    def _send(self, content: Any, status: int = 200, *, error_code: str = "", ends: int | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{_etag(body)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:ends])
        self.close_connection = ends is not None


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
