"""The units of a Ray cluster with an address filled in."""

from __future__ import annotations

import re
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from darkroom.config.settings import shipped
from darkroom.errors import DarkroomError
from darkroom.systemd.unit import HOMES, filled, unit_word

Role = Literal["head", "worker"]

#: As the shipped units have them.
HEAD, PORT = "10.0.0.1", 6379


#: The machine itself, which has to reach its own Ray.
LOCAL = "localhost"


def ray_unit(role: Role, address: str, *, user: str, group: str, network: str = "") -> str:
    """The text of `systemd/darkroom-ray-ROLE.service` with user, group and command. Raises DarkroomError.

    `address`: of a worker's head, with its port; of a head what it is reached by, without. `network`: who may reach it
    at all, as "10.0.0.0/24", several with blanks or commas between; "" is everybody.
    """
    template = shipped(f"systemd/darkroom-ray-{role}.service").read_text(encoding="utf-8")
    line = next(line for line in template.splitlines() if line.startswith("ExecStart="))
    program, _, words = line.removeprefix("ExecStart=").partition(" ")
    before, after = _in_place_of(role, address)
    ray = Path(sys.executable).absolute().with_name(Path(program).name)
    values = {
        "ExecStart": f"{unit_word(str(ray))} {words.replace(before, after)}",
        "User": user,
        "Group": group,
        "ProtectHome": "read-only" if any(ray.resolve().is_relative_to(home) for home in HOMES) else "yes",
    }
    if networks := _networks(network):
        template = template.replace("#IPAddressDeny=", "IPAddressDeny=").replace("#IPAddressAllow=", "IPAddressAllow=")
        values["IPAddressAllow"] = f"{LOCAL} {' '.join(networks)}"
    return "".join(filled(line, values) for line in template.splitlines(keepends=True))


def network_of(unit: str) -> str:
    """Who may reach what a unit starts, as `ray_unit` was told."""
    line = next((line for line in unit.splitlines() if line.startswith("IPAddressAllow=")), "")
    return line.partition("=")[2].removeprefix(LOCAL).strip()


def _networks(said: str) -> list[str]:
    try:
        return [str(ip_network(each, strict=False)) for each in said.replace(",", " ").split()]
    except ValueError as error:
        hint = "Say it like this: --ray-network 10.0.0.0/24"
        raise DarkroomError(f"{said!r} is no network: {error}.", hint=hint) from error


def _in_place_of(role: Role, address: str) -> tuple[str, str]:
    """What of the shipped command becomes what."""
    host, _colon, port = address.rpartition(":") if role == "worker" else (address, "", "")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", host) or (role == "worker" and not port.isdigit()):
        wanted = f"{HEAD}:{PORT}" if role == "worker" else HEAD
        raise DarkroomError(
            f"{address!r} is not the address of a head.", hint=f"Say it like this: --ray-{role} {wanted}"
        )
    return (f"{HEAD}:{PORT}", address) if role == "worker" else (f"address={HEAD}", f"address={host}")
