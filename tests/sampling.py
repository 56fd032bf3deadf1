"""Tests that have thousands of cases run a sample of them, another one each time; `make test-real` runs all.

SAMPLED_SEED=N repeats a sample, SAMPLED_ALL=1 runs all.
"""

import os
import random
import sys
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

ALL = bool(os.environ.get("SAMPLED_ALL"))


def chance(what: str) -> random.Random:
    """Where a sample's chance comes from; the seed is printed, and shown when a test fails."""
    seed = os.environ.get("SAMPLED_SEED") or str(random.randrange(10**9))
    sys.stdout.write(f"{what}: SAMPLED_SEED={seed}{' (all of them)' if ALL else ''}\n")
    return random.Random(seed)


def sample(cases: Sequence[T], count: int, what: str) -> list[T]:
    """So many of the cases, in their order; all of them with SAMPLED_ALL."""
    rng = chance(f"{what}, {min(count, len(cases))} of {len(cases)}")
    if ALL or count >= len(cases):
        return list(cases)
    return [cases[index] for index in sorted(rng.sample(range(len(cases)), count))]
