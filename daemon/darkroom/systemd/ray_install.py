"""What has to be done to make a machine part of a Ray cluster, or to take it out: decided from how the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from darkroom.errors import DarkroomError
from darkroom.systemd.install import Account, Group, account_steps
from darkroom.systemd.step import Step

ROLES = ("head", "worker")
#: The secret of the cluster: the same file on all of its machines.
TOKEN = Path("/etc/darkroom/ray-token")
TOKEN_MODE = 0o640


@dataclass(frozen=True, slots=True)
class RayWish:
    """What a machine is to be in the cluster."""

    role: str  #: "head" or "worker"
    user: str
    group: str
    unit: str  #: text of the unit file
    new_token: str  #: for a head that has none yet

    @property
    def service(self) -> str:
        """The name of its unit."""
        return unit_file(self.role).stem

    @property
    def unit_file(self) -> Path:
        """Where its unit lies."""
        return unit_file(self.role)


@dataclass(frozen=True, slots=True)
class RayFacts:
    """How the machine is."""

    account: Account | None
    group: Group | None
    unit: str | None
    enabled: bool
    active: bool
    has_token: bool
    token_fits: bool = False  #: the group may read it, and nobody else


def unit_file(role: str) -> Path:
    """Where the unit of a machine with this role lies."""
    return Path("/etc/systemd/system") / f"darkroom-ray-{role}.service"


def to_join(wish: RayWish, facts: RayFacts) -> list[Step]:
    """Make it part of the cluster. Raises DarkroomError where the secret has to be brought first."""
    if wish.role == "worker" and not facts.has_token:
        hint = f"Bring it from the head:  scp HEAD:{TOKEN} {TOKEN}  Then say this again."
        raise DarkroomError(f"The cluster's token is not here: {TOKEN}.", hint=hint)
    steps = list(account_steps(wish.user, wish.group, facts.account, facts.group))
    steps += _token(wish, facts)
    changed = facts.unit != wish.unit
    if changed:
        steps.append(Step("What systemd has to know.", file=wish.unit_file, content=wish.unit))
        steps.append(Step("Let systemd read it.", ("systemctl", "daemon-reload")))
    if not facts.enabled:
        steps.append(Step("Start it with the machine.", ("systemctl", "enable", wish.service)))
    if not facts.active:
        steps.append(Step("Start it now.", ("systemctl", "start", wish.service)))
    elif changed:
        steps.append(Step("What renders there is rendered again.", ("systemctl", "restart", wish.service)))
    return steps


def to_leave(wish: RayWish, facts: RayFacts) -> list[Step]:
    """Take it out of the cluster; user, token and models stay."""
    steps = []
    if facts.active:
        steps.append(Step("What renders there is rendered elsewhere.", ("systemctl", "stop", wish.service)))
    if facts.enabled:
        steps.append(Step("It is not started with the machine any more.", ("systemctl", "disable", wish.service)))
    if facts.unit is not None:
        steps.append(Step("Its unit.", ("rm", str(wish.unit_file))))
        steps.append(Step("Let systemd forget it.", ("systemctl", "daemon-reload")))
    return steps


def _token(wish: RayWish, facts: RayFacts) -> Iterator[Step]:
    if not facts.has_token:
        yield Step("Where it lies.", ("mkdir", "-p", str(TOKEN.parent)))
        yield Step("A new secret for the cluster.", file=TOKEN, content=wish.new_token, mode=0o600)
    if not facts.token_fits:
        yield Step("The service may read it,", ("chown", f"root:{wish.group}", str(TOKEN)))
        yield Step("and nobody else.", ("chmod", f"{TOKEN_MODE:04o}", str(TOKEN)))
