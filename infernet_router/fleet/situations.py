"""Situations: counts the nodes that could and could not get a job, kept until a node changes."""

from array import array
from collections.abc import Collection
from sys import intern

from attrs import frozen

from infernet_router.fleet.candidates import Candidates
from infernet_router.fleet.groups import Tier, bits_of

_KEPT = 30_000
"""How many situations are kept. Each decision makes one at most, and one is used for as long as
10,000 newer ones: together enough for 20,000 decisions."""

_USED = 10_000
"""How many situations later one is counted again at the latest."""

_MAX_CURRENT = 256
"""The most combinations of containers of which the present situation is kept."""

_MAX_COMBINATIONS = 4096
_MAX_NAMES = 65_536
"""The most combinations of containers that are remembered, and the most names in them. A client
can ask for as many as it likes; decisions for those used longest ago are forgotten early."""

_FIELDS = 7


@frozen
class Situation:
    """Which nodes could get a job when a decision was made. Each node is counted once."""

    containers: tuple[str, ...]
    candidates: int
    """How many nodes were in the class that was chosen from, without the excluded ones."""
    down: int
    """Nodes that were down, and whose last report had all containers."""
    drained: int
    """Nodes that were up and drained, and ran all containers."""
    full: int
    """Nodes that were too full, while there was a better class."""
    suspect: int
    """Nodes that were suspect, while there was a better class."""
    excluded: int
    """Nodes that ran all containers, and that the client excluded."""


class Situations:
    """
    The situations in which the last decisions were made, each known by a number from 1 on.

    :param candidates: the nodes that are up.
    :param absent: the nodes that are down, by the containers in their last report.
    """

    def __init__(self, candidates: Candidates, absent: Candidates) -> None:
        self._candidates = candidates
        self._absent = absent
        self.current: dict[tuple[str, ...], int] = {}
        """By containers, the number of the present situation, if it is known."""
        self._count = 0
        self._renew_at = _USED
        self._numbers = array("i", bytes(4 * _FIELDS * _KEPT))
        self._combinations: dict[tuple[str, ...], int] = {}
        """The number of each combination that is remembered; the last one used is last."""
        self._asked: dict[int, tuple[str, ...]] = {}
        self._combination = 0
        self._names = 0
        """How many names the remembered combinations have."""

    def changed(self) -> None:
        """A node changed: count again from now on."""
        self.current.clear()

    def number(self, asked: tuple[str, ...]) -> int:
        """The number of the present situation for a job."""
        number = self.current.get(asked)
        if number is None:
            if len(self.current) >= _MAX_CURRENT:
                self.current.clear()
            number = self.current[asked] = self.add(asked)
        return number

    def add(
        self,
        asked: tuple[str, ...],
        excluded: Collection[int] = (),
        among: int | None = None,
        candidates: int | None = None,
    ) -> int:
        """
        Add the present situation for a job; returns its number.

        :param excluded: the indices of nodes not to choose.
        :param among: how many nodes there are to choose from, if not all.
        :param candidates: how many candidates there are, if that is known.
        """
        if self._count >= self._renew_at:
            self.current.clear()
            self._renew_at = self._count + _USED
        first, every = (self._candidates.bits_of(asked, kind) for kind in (asked[0], None))
        tier_of = self._candidates.tier_of
        gone = bits_of(index for index in excluded if tier_of(index) < Tier.DRAINED)
        firsts, all_ = (self._candidates.count_by_tier(bits & ~gone) for bits in (first, every))
        others = [count - of_first for count, of_first in zip(all_, firsts, strict=True)]
        serving = Tier.DRAINED
        classes = [*enumerate(firsts[:serving]), *enumerate(others[:serving])]
        best, found = next(filter(lambda each: each[1], classes), (0, 0))
        all_[best] -= found
        if candidates is None:
            candidates = found if among is None else min(found, among)
        down = self._absent.bits_of(asked, None).bit_count()
        self._count += 1
        at = self._count % _KEPT * _FIELDS
        self._numbers[at : at + _FIELDS] = array(
            "i",
            (
                self._combination_of(asked),
                candidates,
                down,
                all_[Tier.DRAINED],
                all_[Tier.FULL],
                all_[Tier.SUSPECT],
                (every & gone).bit_count(),
            ),
        )
        return self._count

    def at(self, number: int) -> Situation | None:
        """The situation with a number; None if its containers are forgotten."""
        at = number % _KEPT * _FIELDS
        combination, *counts = self._numbers[at : at + _FIELDS]
        asked = self._asked.get(combination)
        return None if asked is None else Situation(asked, *counts)

    def _combination_of(self, asked: tuple[str, ...]) -> int:
        """The number of a combination of containers, which is remembered from now on."""
        number = self._combinations.pop(asked, None)
        if number is None:
            asked = tuple(map(intern, asked))
            self._combination = number = self._combination + 1
            self._asked[number] = asked
            self._names += len(asked)
        self._combinations[asked] = number
        while len(self._asked) > _MAX_COMBINATIONS or self._names > _MAX_NAMES:
            oldest = next(iter(self._combinations))
            self._names -= len(oldest)
            del self._asked[self._combinations.pop(oldest)]
        return number
