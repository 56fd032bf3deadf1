"""What is known of each model without loading it: what its files say, and what was tried with the very scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from darkroom.disk.files import Disk
from darkroom.executor.port import Tried
from darkroom.models.families import BY_KEY
from darkroom.models.files import Fate
from darkroom.models.judge import Judgement
from darkroom.models.layers import Misfit
from darkroom.models.thread import Looked
from darkroom.service.knowledge import Models
from darkroom.spool.records import Spool

FAMILY = BY_KEY["stable-diffusion"]
SAVED = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000}
USABLE = Judgement(Fate.USABLE, family=FAMILY, scheduler=SAVED)
IMPOSSIBLE = {"heun": ((1, 1),)}


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path, disk=Disk())
    yield spool
    spool.close()


@pytest.fixture
def models(spool: Spool) -> Models:
    models = Models(spool)
    models.looked(Looked("sd15", USABLE))
    return models


def tried(models: Models) -> Tried:
    return Tried(model="sd15", scheduler=models._digests["sd15"], impossible=IMPOSSIBLE)


def test_nothing_is_known_of_what_nobody_has_looked_at(models: Models) -> None:
    known = models.known("another")
    assert (known.family, known.impossible, known.misfits, known.unreadable) == (None, {}, {}, {})


def test_its_files_say_what_it_is(models: Models) -> None:
    assert models.known("sd15").family == FAMILY


def test_what_was_tried_outlives_a_life_and_holds_for_that_scheduler_alone(models: Models, spool: Spool) -> None:
    models.tried(tried(models))
    assert models.known("sd15").impossible == IMPOSSIBLE
    anew = Models(spool)
    assert anew.known("sd15").impossible == {}  # its files have not been looked at: another scheduler, perhaps
    anew.looked(Looked("sd15", USABLE))
    assert anew.known("sd15").impossible == IMPOSSIBLE
    other = Judgement(Fate.USABLE, family=FAMILY, scheduler={**SAVED, "prediction_type": "v_prediction"})
    anew.looked(Looked("sd15", other))
    assert anew.known("sd15").impossible == {}


def test_what_was_tried_with_an_unknown_scheduler_is_not_believed(models: Models) -> None:
    models.looked(Looked("sd15", Judgement(Fate.ABSENT)))
    models.tried(Tried(model="sd15", scheduler="", impossible=IMPOSSIBLE))
    assert models.known("sd15").impossible == {}


def test_what_a_model_was_stays_known_while_its_files_are_away(models: Models) -> None:
    models.looked(Looked("sd15", Judgement(Fate.ABSENT, "is not there.")))
    assert models.known("sd15").family == FAMILY


def test_what_cannot_be_used_with_it_is_replaced_whole_at_each_look(models: Models) -> None:
    misfit = Misfit("is for another model.", "Choose another one.")
    models.looked(Looked("sd15", USABLE, {"ink": misfit}, {"word": misfit}))
    assert (models.known("sd15").misfits, models.known("sd15").unreadable) == ({"ink": misfit}, {"word": misfit})
    models.looked(Looked("sd15", USABLE))
    assert (models.known("sd15").misfits, models.known("sd15").unreadable) == ({}, {})


@pytest.mark.parametrize(("fate", "told"), [(Fate.HELD, 1), (Fate.NEVER, 1), (Fate.ABSENT, 0), (Fate.USABLE, 0)])
def test_a_model_that_cannot_be_used_is_told_with_what_to_do(models: Models, fate: Fate, told: int) -> None:
    with capture_logs() as log:
        models.looked(Looked("sd15", Judgement(fate, "is no model.", "Mend it.")))
    assert [(each["model"], each["why"], each["hint"]) for each in log] == [("sd15", "is no model.", "Mend it.")] * told
