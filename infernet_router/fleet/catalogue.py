"""The catalogue: lists the containers that up nodes run, with counts and descriptions."""

from collections.abc import Callable, Mapping

import msgspec


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

    :param counts: returns, by container, how many up nodes run it.
    """

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts
        self._descriptions: dict[str, dict[str, tuple[str, int]]] = {}
        """By container and description: the copy that is kept, and how many nodes give it."""
        self._listing: tuple[RunningContainer, ...] | None = None

    def changed(self) -> None:
        """What runs has changed: build the next list again."""
        self._listing = None

    def describe(self, before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
        """
        Replace the descriptions that a node gave `before` by those it gives `now`.

        :return: `now` with the kept copy of each text, to be passed as `before` the next time.
        """
        self._listing = None
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

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """Every container that an up node runs, sorted by id."""
        if self._listing is None:
            self._listing = tuple(
                RunningContainer(container, count, self._description(container))
                for container, count in sorted(self._counts().items())
            )
        return self._listing

    def _description(self, container: str) -> str | None:
        texts = self._descriptions.get(container, {})
        return min(texts, key=lambda text: (-texts[text][1], text), default=None)
