"""Whether two machines have the same software: a picture must not depend on where it is rendered."""

from __future__ import annotations

from collections.abc import Mapping

#: What makes the pictures; others may differ.
COMPARED = ("darkroom", "torch", "diffusers", "transformers")


def why_other(ours: Mapping[str, str], theirs: Mapping[str, str], host: str) -> str:
    """What differs and how to mend it, after "The renderer"; "" when nothing does."""
    differing = [name for name in COMPARED if _public(ours.get(name, "")) != _public(theirs.get(name, ""))]
    if not differing:
        return ""
    there = ", ".join(f"{name} {theirs.get(name) or '(none)'}" for name in differing)
    here = ", ".join(f"{name} {ours.get(name) or '(none)'}" for name in differing)
    wanted = " ".join(f"{name}=={_public(ours[name])}" for name in differing if ours.get(name))
    mend = f"install there: {wanted}" if wanted else f"install the same here: {' '.join(differing)}"
    return f"is not used: {host} has {there}; the daemon has {here}; {mend}, and start its Ray worker again"


def _public(version: str) -> str:
    """Without the build ("+cu128"): each machine has that of its own device."""
    return version.partition("+")[0]
