"""The doctor's look at what the daemon shows and tells to others, and at those who render for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException

from darkroom.cli.finding import Finding, Verdict
from darkroom.config.settings import Config
from darkroom.errors import in_words
from darkroom.http.address import Address
from darkroom.printable import printable
from darkroom.rights import who

REACHED_S = 5.0


def shown(config: Config) -> Iterator[Finding]:
    """Whether the address can be listened at, or Darkroom does already."""
    if not config.http:
        return
    address = Address.parse(config.http)
    version = _darkroom_at(address)
    if version:
        yield Finding(Verdict.OK, "http", f"Darkroom {version} listens at {address}.")
        return
    try:
        with socket.create_server((address.host, address.port), family=_family(address)):
            pass
    except OSError as error:
        hint = "`ss -ltnp` says who listens there; or set http to another port."
        yield Finding(Verdict.WARN, "http", f"nobody can listen at {address}: {error.strerror}.", hint)
        return
    yield Finding(Verdict.OK, "http", f"{address} is free.")
    if not address.is_of_this_machine:
        hint = "Put a web server that asks who they are in front of it, or set http to 127.0.0.1 and a port."
        yield Finding(Verdict.WARN, "http", "whoever reaches that address sees every picture.", hint)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _darkroom_at(address: Address) -> str:
    """The version of the Darkroom that answers there; "" for somebody else, or nobody."""
    connection = HTTPConnection(address.host, address.port, timeout=2.0)
    try:
        connection.request("GET", "/health", headers={"Host": "localhost"})
        health = json.loads(connection.getresponse().read(1 << 20))
    except (OSError, HTTPException, ValueError):
        return ""
    finally:
        connection.close()
    is_ours = isinstance(health, dict) and isinstance(health.get("healthy"), bool)
    return printable(str(health.get("version") or "(which is just starting)")) if is_ours else ""


def told(config: Config) -> Iterator[Finding]:
    """Whether there is such a command."""
    if not config.notify:
        return
    word = config.notify[0]
    found = shutil.which(word)
    if found is None:
        yield Finding(
            Verdict.WARN, "notify", f"{word} is not a command that {who()} can run.", "Name it by its whole path."
        )
    else:
        yield Finding(Verdict.OK, "notify", f"{found} is run for each request that has come to its end.")


def cluster(config: Config) -> Iterator[Finding]:
    """Whether the head of the Ray cluster can be reached, and its secret be read."""
    host, _, port = config.ray_address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S):
            yield Finding(Verdict.OK, "ray", f"{config.ray_address} answers.")
    except OSError as error:
        hint = "Is the head up (systemctl status darkroom-ray-head), and does the firewall let us through?"
        yield Finding(Verdict.FAIL, "ray", f"{config.ray_address} cannot be reached: {in_words(error)}.", hint)
    if config.ray_token_file and not os.access(config.ray_token_file, os.R_OK):
        hint = "It is the same file on all machines of the cluster: docs/scaling.md says how it gets here."
        yield Finding(Verdict.FAIL, "ray", f"{config.ray_token_file} cannot be read by {who()}.", hint)
