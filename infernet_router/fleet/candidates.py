"""Candidates: finds the nodes that can do a job, tier by tier, and samples the best tier."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import chain
from random import Random
from typing import TypeVar

from infernet_router.quoting import quoted

_RUN = 8
"""The length of a run of neighbouring nodes; a pick compares two runs at random places. Two
candidates are far better than one (Mitzenmacher, "The power of two choices in randomized load
balancing", IEEE TPDS 12(10), 2001), and 32 hardly better than 16, which cost the same in a fleet of
any size. Neighbours share cache lines. Two runs are as good as 16 random nodes, one run is not."""

_SEARCHED = 256
"""How many of the given nodes are sampled in search of the best tier, before all are looked at."""

_MAX_COMBINATIONS = 256
"""The most combinations of containers to cache candidates for, those used most recently."""


class Tier(IntEnum):
    """An order of preference: a node gets a job only if no candidate is in a better tier."""

    NORMAL = 0
    FULL = 1
    """Its utilization is over the threshold."""
    DRAINED = 2
    """By an operator's order, it gets no job at all. This is always the last tier."""


Key = TypeVar("Key")


class Candidate:
    """The part of a node that decides which jobs it can do."""

    __slots__ = ("containers", "index", "tier")

    def __init__(self, index: int) -> None:
        self.index = index
        """The index of its load."""
        self.containers: dict[str, bool] = {}
        """While it is up: each container it runs, and whether that is external."""
        self.tier = Tier.NORMAL

    def takes(self, containers: Iterable[str]) -> bool:
        """Whether it is a candidate: it runs all these containers, and at least one is external."""
        external = [self.containers.get(container) for container in containers]
        return None not in external and True in external


class Group:
    """A set of nodes: their indices, in one array for each tier."""

    __slots__ = ("_places", "_tiers")

    def __init__(self) -> None:
        self._tiers = [array("q")]
        """By tier, up to the last one ever needed: there are many groups, most with one tier."""
        self._places: dict[int, int] = {}
        """By index of a node, its position in the array of its tier."""

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def set(self, node: Candidate, member: bool) -> None:
        """Add a node, or remove it. It must be removed before its tier changes."""
        index, tier = node.index, int(node.tier)
        if member == (index in self._places):
            return
        if member:
            while len(self._tiers) <= tier:
                self._tiers.append(array("q"))
            self._places[index] = len(self._tiers[tier])
            self._tiers[tier].append(index)
        else:
            place, last = self._places.pop(index), self._tiers[tier].pop()
            if last != index:
                self._tiers[tier][place] = last
                self._places[last] = place

    @property
    def serving(self) -> "list[array[int]]":
        """The members that get jobs, by tier."""
        return self._tiers[: Tier.DRAINED]

    def sample(self, random: Random) -> "array[int]":
        """
        A random sample of the best tier, each member equally likely; the whole tier if it is small.

        Empty if no member gets jobs.
        """
        indices = self._tiers[0] or next(filter(None, self.serving), _EMPTY)
        count = len(indices)
        if count <= 2 * _RUN:
            return indices
        first = int(random.random() * (count + _RUN - 1)) + 1
        second = int(random.random() * (count + _RUN - 1)) + 1
        return (
            indices[first - _RUN if first > _RUN else 0 : first]
            + indices[second - _RUN if second > _RUN else 0 : second]
        )


_EMPTY = array("q")


class Candidates:
    """
    Finds the candidates for any job.

    :param nodes: every node, by its index.
    :param random: chooses which candidates are compared.
    """

    def __init__(self, nodes: Sequence[Candidate | None], random: Random) -> None:
        self._nodes = nodes
        self._random = random
        self._external: dict[str, Group] = {}
        """By container, the nodes that are up and run it as an external one."""
        self._internal: dict[str, Group] = {}
        """By container, the nodes that are up and run it as one that is not external."""
        self._together: dict[frozenset[str], Group] = {}
        """By combination of containers, its candidates; the most recently used one is last."""

    def set_containers(self, node: Candidate, containers: dict[str, bool]) -> None:
        """Set the containers that a node runs."""
        before, node.containers = node.containers, containers
        changed = {
            container
            for container in before.keys() | containers.keys()
            if before.get(container) is not containers.get(container)
        }
        for groups, kind in ((self._external, True), (self._internal, False)):
            for container in changed:
                member = containers.get(container) is kind
                if not member and container not in groups:
                    continue
                group = groups.setdefault(container, Group())
                group.set(node, member)
                if not group:
                    del groups[container]
        for together, group in self._together.items():
            if not changed.isdisjoint(together):
                group.set(node, node.takes(together))

    def set_tier(self, node: Candidate, tier: Tier) -> None:
        """Set the tier of a node."""
        containers = node.containers
        self.set_containers(node, {})
        node.tier = tier
        self.set_containers(node, containers)

    def of(self, asked: tuple[str, ...]) -> Group | None:
        """The candidates for these containers, drained ones too; None or empty without any."""
        if len(asked) == 1:
            return self._external.get(asked[0])
        together = frozenset(asked)
        group = self._together.pop(together, None)
        if group is None:
            running = [self._running(container) for container in asked]
            fewest = min(running, key=lambda groups: sum(map(len, groups)), default=[])
            if not fewest:
                return None
            group = Group()
            for index in chain(*fewest):
                node = self._nodes[index]
                assert node is not None
                group.set(node, node.takes(asked))
            if len(self._together) == _MAX_COMBINATIONS:
                del self._together[next(iter(self._together))]
        self._together[together] = group
        return group

    def sample_of(
        self, asked: tuple[str, ...], some: Sequence[Key], find: Callable[[Key], Candidate | None]
    ) -> Sequence[int]:
        """
        A sample of the candidates among given nodes; empty if none of them is one.

        All are in the same tier: the best, or another if those in the best are too rare to find
        soon.

        :param find: returns the node that an item of `some` stands for.
        """
        group = self.of(asked)
        best = next((tier for tier, there in enumerate(group.serving) if there), 0) if group else 0
        for count in (2 * _RUN, _SEARCHED):
            if len(some) <= count:
                break
            found = self._by_tier(asked, map(find, self._random.sample(some, count)))
            if found and (count == _SEARCHED or min(found) == best):
                return found[min(found)]
        found = self._by_tier(asked, map(find, some))
        return found[min(found)] if found else ()

    def serving(
        self, asked: tuple[str, ...], some: Iterable[Candidate | None] | None = None
    ) -> list[Sequence[int]]:
        """The candidates that get jobs, among given nodes or all, by tier, the best tier first."""
        if some is not None:
            found = self._by_tier(asked, some)
            return [found[tier] for tier in sorted(found)]
        group = self.of(asked)
        return list(group.serving) if group else []

    def counts(self) -> Counter[str]:
        """By container, how many up nodes run it."""
        counts = Counter[str]()
        for groups in (self._external, self._internal):
            for container, group in groups.items():
                counts[container] += len(group)
        return counts

    def why_none(self, asked: tuple[str, ...]) -> str:
        """Why none of the nodes that are up gets a job for these containers."""
        absent = [
            quoted(container)
            for container in asked
            if container not in self._external and container not in self._internal
        ]
        if absent:
            return f"no up node runs {' or '.join(absent)}"
        named = ", ".join(map(quoted, asked))
        if self.of(asked):
            return f"every up node that runs {named} is drained"
        if len(asked) == 1:
            return f"no up node takes jobs for {named}, which is not external"
        return f"no single up node runs all of {named} and takes jobs for one of them"

    def _running(self, container: str) -> list[Group]:
        """The nodes that are up and run a container, as groups."""
        groups = self._external.get(container), self._internal.get(container)
        return [group for group in groups if group]

    def _by_tier(
        self, asked: tuple[str, ...], nodes: Iterable[Candidate | None]
    ) -> dict[Tier, list[int]]:
        """The candidates that get jobs among these nodes, by tier."""
        tiers: dict[Tier, list[int]] = {}
        for node in nodes:
            if node is not None and node.tier < Tier.DRAINED and node.takes(asked):
                tiers.setdefault(node.tier, []).append(node.index)
        return tiers
