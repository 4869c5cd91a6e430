"""The catalogue: lists the containers that up nodes run, with counts and descriptions."""

from collections.abc import Callable, Iterator, Mapping
from heapq import merge

import msgspec

from infernet_router.fleet.steps import Steps

_STEP = 2000
"""Containers, or descriptions of one, that are looked at in one step."""


class RunningContainer(msgspec.Struct, frozen=True):
    """A container that up nodes run."""

    id: str
    count: int
    """How many of them run it."""
    description: str | None
    """The description that most of them give, or the alphabetically first of equally frequent ones;
    None if none of them describes it."""


class Catalogue:
    """
    Lists the running containers, with the descriptions that nodes give now.

    Many nodes give the same description, so one copy of each text is kept.

    :param ids: returns the ids of all containers that run.
    :param count: returns how many up nodes run the container with this id.
    """

    def __init__(self, ids: Callable[[], list[str]], count: Callable[[str], int]) -> None:
        self._ids = ids
        self._count = count
        self._descriptions: dict[str, dict[str, tuple[str, int]]] = {}
        """By container and description: the copy that is kept, and how many nodes give it."""

    def describe(self, before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
        """
        Replace the descriptions that a node gave `before` by those it gives `now`.

        :return: `now` with the kept copy of each text, to be passed as `before` the next time.
        """
        for container, text in before.items():
            texts = self._descriptions[container]
            copy, count = texts.pop(text)
            if count > 1:
                texts[copy] = copy, count - 1
            elif not texts:
                del self._descriptions[container]
        kept = {}
        for container, text in now.items():
            texts = self._descriptions.setdefault(container, {})
            copy, count = texts.get(text, (text, 0))
            texts[copy] = copy, count + 1
            kept[container] = copy
        return kept

    def describing(self, id: str) -> Steps[str | None]:
        """The description of a container that most nodes give, as in RunningContainer."""
        descriptions = tuple(self._descriptions.get(id, {}).values())
        best: tuple[int, str] | None = None
        for start in range(0, len(descriptions), _STEP):
            some = ((-count, text) for text, count in descriptions[start : start + _STEP])
            best = min(some) if best is None else min(best, *some)
            yield
        return best and best[1]

    def list_running(self) -> Iterator[RunningContainer | None]:
        """
        Every container that an up node runs, sorted by id.

        Each is listed as it is when the iteration reaches it; one that is new may be missing. None
        follows after each step: there may be many containers, and descriptions, if nodes make them
        up.
        """
        ids, parts = self._ids(), []
        for start in range(0, len(ids), _STEP):
            parts.append(sorted(ids[start : start + _STEP]))
            yield None
        for id in merge(*parts):
            description = yield from self.describing(id)
            if count := self._count(id):
                yield RunningContainer(id, count, description)
