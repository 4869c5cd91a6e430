"""The catalogue: what runs on the nodes that are up, on how many, and how they describe it."""

from collections.abc import Callable, Mapping

import msgspec


class RunningContainer(msgspec.Struct, frozen=True):
    """A container, and the nodes that are up and run it."""

    id: str
    count: int
    """The number of these nodes."""
    description: str | None
    """The description that most of them give; of equally frequent ones, the first in the alphabet.
    None when none of them describes it."""


class Catalogue:
    """
    Lists what runs, each time from the descriptions that nodes give now.

    Many nodes give the same description, so one copy of each text is kept.

    :param counts: gives, by container, how many nodes that are up run it.
    """

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts
        self._descriptions: dict[str, dict[str, tuple[str, int]]] = {}
        """By container and description: the kept copy, and how many nodes give it."""
        self._listing: tuple[RunningContainer, ...] | None = None

    def changed(self) -> None:
        """What runs has changed: make the next list anew."""
        self._listing = None

    def describe(self, before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
        """
        A node describes its containers as in `now`, and no longer as in `before`.

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
        """Every container that a node which is up runs, sorted by id."""
        if self._listing is None:
            self._listing = tuple(
                RunningContainer(container, count, self._description(container))
                for container, count in sorted(self._counts().items())
            )
        return self._listing

    def _description(self, container: str) -> str | None:
        texts = self._descriptions.get(container, {})
        return min(texts, key=lambda text: (-texts[text][1], text), default=None)
