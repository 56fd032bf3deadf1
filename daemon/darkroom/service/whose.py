"""Whose file a path is, also where somebody spells the path otherwise."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from darkroom.names import folded


class Whose(MutableMapping[str, str]):
    """Path → id of a request. Names that a case-insensitive client takes for one are found together."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._alike: dict[str, set[str]] = {}  # folded path → paths

    def __getitem__(self, path: str) -> str:
        return self._ids[path]

    def __setitem__(self, path: str, request_id: str) -> None:
        self._ids[path] = request_id
        self._alike.setdefault(folded(path), set()).add(path)

    def __delitem__(self, path: str) -> None:
        del self._ids[path]
        alike = self._alike[folded(path)]
        alike.discard(path)
        if not alike:
            del self._alike[folded(path)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def alike(self, path: str) -> dict[str, str]:
        """Every path that is this one but for case and the form of its letters, with its id."""
        return {each: self._ids[each] for each in self._alike.get(folded(path), ())}
