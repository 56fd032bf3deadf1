"""The models that are on the device, and which of them leave when another one needs the room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from darkroom.models import fit
from darkroom.render.engine import Device, Model
from darkroom.render.parameters import Provenance


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A model that is loaded, and where."""

    alias: str
    model: Model
    device: Device

    @property
    def provenance(self) -> Provenance:
        """What pictures tell about where they come from."""
        model, device = self.model, self.device
        return Provenance(model.revision, device.title, device.software, model.checkpoint_hash, model.own_scheduler)


class Residents:
    """Used by the device thread. The last one that was used is the one in hand."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._models: dict[str, OnDevice] = {}  # the least recently used first

    @property
    def aliases(self) -> tuple[str, ...]:
        """All of them, the least recently used first."""
        return tuple(self._models)

    def use(self, alias: str) -> OnDevice | None:
        """The one of this name, from now on the last used; None where it is not there, or not as it should be."""
        found = self._models.pop(alias, None)
        if found is not None and found.model.is_spent:
            found.model.close()
            return None
        return None if found is None else self.add(found)

    def add(self, loaded: OnDevice) -> OnDevice:
        """One more, the last used."""
        self._models[loaded.alias] = loaded
        return loaded

    def make_room_for(self, wanted_bytes: int | None, free_bytes: Callable[[], int]) -> None:
        """Let go what has to, for one that needs so much; None where nobody knows, and all have to."""
        sizes = [(alias, each.model.size_bytes) for alias, each in self._models.items()]
        for alias in fit.leaving(sizes, wanted_bytes, free_bytes(), self._most):
            self._models.pop(alias).model.close()

    def let_one_go(self) -> bool:
        """Let go of one that is not in hand; whether there was any."""
        others = self.aliases[:-1]
        if others:
            self._models.pop(others[0]).model.close()
        return bool(others)

    def let_go(self, alias: str) -> None:
        """Let go of this one: its next request loads it anew."""
        self._models.pop(alias).model.close()

    def let_all_go(self) -> None:
        """Free the device."""
        while self._models:
            self._models.popitem()[1].model.close()
