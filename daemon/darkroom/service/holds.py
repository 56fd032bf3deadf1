"""What must not be tried right now, why, and when it is tried again: pure, time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from darkroom.backoff import MODEL_OR_SEAT


@dataclass(frozen=True, slots=True)
class ModelHold:
    """The key of a hold on a model: on one seat, or (None) on every one."""

    alias: str
    seat: str | None = None


@dataclass(frozen=True, slots=True)
class SeatHold:
    """The key of a hold on a seat, or on a device with all seats that share it, whatever the model."""

    name: str


HoldKey = ModelHold | SeatHold


@dataclass(frozen=True, slots=True)
class Hold:
    """One thing that is held."""

    why: str
    hint: str
    failures: int  #: in a row
    until_s: float  #: monotonic time of the next try
    in_loading: bool = False  #: it could not even be loaded


class Holds:
    """Models and seats that failed; each waits twice as long as the time before."""

    def __init__(self) -> None:
        self._holds: dict[HoldKey, Hold] = {}

    def add(self, key: HoldKey, why: str, hint: str, now_s: float, *, in_loading: bool = False) -> Hold:
        """It failed once more."""
        failures = self._holds[key].failures + 1 if key in self._holds else 1
        hold = Hold(why, hint, failures, now_s + MODEL_OR_SEAT.delay_s(failures), in_loading)
        self._holds[key] = hold
        return hold

    def clear(self, key: HoldKey) -> bool:
        """It works. Returns whether it had been held."""
        return self._holds.pop(key, None) is not None

    def carry_over(self, seat: str, name: str) -> None:
        """A seat, or a device, is called otherwise from now on."""
        self._holds = {_renamed(key, seat, name): hold for key, hold in self._holds.items()}

    def forget(self, seat: str) -> None:
        """A seat is gone."""
        of_seat = [key for key in self._holds if (key.name if isinstance(key, SeatHold) else key.seat) == seat]
        for key in of_seat:
            del self._holds[key]

    def get(self, key: HoldKey) -> Hold | None:
        """Why it is held, or was until its next try."""
        return self._holds.get(key)

    def is_held(self, key: HoldKey, now_s: float) -> bool:
        """Whether it must not be tried yet."""
        hold = self._holds.get(key)
        return hold is not None and now_s < hold.until_s

    def keeps_seat(self, seat: str, device: str, now_s: float) -> bool:
        """Whether a seat must not be tried yet, itself or its device."""
        return self.is_held(SeatHold(seat), now_s) or self.is_held(SeatHold(device), now_s)

    def of_seat(self, seat: str, device: str) -> Hold | None:
        """Why a seat is not used, or was not until its next try."""
        return self._holds.get(SeatHold(seat)) or self._holds.get(SeatHold(device))

    def of_model(self, alias: str, seat: str) -> Hold | None:
        """Why a model is not rendered on a seat, or was not until its next try."""
        return self._holds.get(ModelHold(alias)) or self._holds.get(ModelHold(alias, seat))

    def keeps(self, alias: str, seat: str, now_s: float) -> bool:
        """Whether a model must not be tried on a seat yet."""
        return self.is_held(ModelHold(alias), now_s) or self.is_held(ModelHold(alias, seat), now_s)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has failed."""
        return not self._holds

    def all(self) -> dict[HoldKey, Hold]:
        """Every hold, also those whose next try is due."""
        return dict(self._holds)


def _renamed(key: HoldKey, seat: str, name: str) -> HoldKey:
    if isinstance(key, SeatHold):
        return SeatHold(name) if key.name == seat else key
    return ModelHold(key.alias, name) if key.seat == seat else key
