"""From the nodes of a Ray cluster to seats; and which software they have to have."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from darkroom.cluster.places import MOST_OF_A_NODE, places_of
from darkroom.cluster.versions import why_other

ONE_GPU = {"GPU": 1.0}


def node(number: int, *, name: str = "", host: str = "", alive: bool = True, **resources: float) -> dict[str, Any]:
    """As Ray tells of one."""
    address = f"10.0.0.{number}"
    return {
        "NodeID": f"{number:x}" * 56,
        "Alive": alive,
        "NodeName": name or address,
        "NodeManagerHostname": host or f"host{number}",
        "NodeManagerAddress": address,
        "Resources": resources,
    }


def test_each_gpu_is_a_seat_named_after_its_machine() -> None:
    nodes = [node(1, name="gpu1", GPU=2.0), node(2, host="attic", GPU=1.0), node(3)]
    assert places_of(nodes, ONE_GPU) == {"gpu1/0": "1" * 56, "gpu1/1": "1" * 56, "attic/0": "2" * 56}


def test_what_a_renderer_takes_is_counted_over_all_that_it_names() -> None:
    nodes = [node(1, GPU=4.0, painter=1.5), node(2, GPU=0.5)]
    assert list(places_of(nodes, {"GPU": 1.0, "painter": 0.5})) == ["host1/0", "host1/1", "host1/2"]
    assert list(places_of(nodes, {"GPU": 0.5})) == [f"host1/{index}" for index in range(8)] + ["host2/0"]


def test_dead_machines_are_none() -> None:
    assert places_of([node(1, alive=False, GPU=1.0)], ONE_GPU) == {}


def test_machines_of_one_name_are_told_apart() -> None:
    nodes = [node(1, host="vm", GPU=1.0), node(2, host="vm", GPU=1.0)]
    assert list(places_of(nodes, ONE_GPU)) == ["vm-111111/0", "vm-222222/0"]
    assert list(places_of(nodes[:1], ONE_GPU)) == ["vm/0"]


def test_an_amount_that_no_machine_has_starts_no_end_of_processes() -> None:
    assert len(places_of([node(1, GPU=1e9)], ONE_GPU)) == MOST_OF_A_NODE


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["", "a"]), st.floats(0, 10)), unique_by=lambda x: x[0]))
def test_seats_have_one_machine_each(told: list[tuple[int, str, float]]) -> None:
    nodes = [node(number, name=name, GPU=amount) for number, name, amount in told]
    places = places_of(nodes, ONE_GPU)
    assert len(places) == sum(int(amount) for _, _, amount in told)
    assert set(places.values()) == {f"{number:x}" * 56 for number, _, amount in told if amount >= 1}


OURS = {"darkroom": "1.0", "torch": "2.13.0+cu128", "diffusers": "0.42", "transformers": "5.0"}


def test_the_same_software_built_for_another_device_will_do() -> None:
    assert why_other(OURS, OURS | {"torch": "2.13.0+cpu", "numpy": "1"}, "gpu1") == ""


def test_other_software_is_told_with_what_mends_it() -> None:
    why = why_other(OURS, OURS | {"torch": "2.6.0", "diffusers": ""}, "gpu1")
    assert "gpu1 has torch 2.6.0, diffusers (none); the daemon has torch 2.13.0+cu128, diffusers 0.42" in why
    assert "install there: torch==2.13.0 diffusers==0.42, and start its Ray worker again" in why


def test_what_only_the_daemon_lacks_is_to_be_installed_there() -> None:
    assert "install the same here: diffusers" in why_other(OURS | {"diffusers": ""}, OURS, "gpu1")
