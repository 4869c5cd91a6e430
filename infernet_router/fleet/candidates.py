"""Candidates: finds the nodes that can do a job, tier by tier, and samples the best tier."""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import IntEnum
from itertools import chain
from random import Random
from typing import TypeVar

from infernet_router.fleet.no_node import Reason
from infernet_router.quoting import quoted

_RUN = 16
"""The length of a run of neighbouring nodes; a pick compares two runs at random positions. Two
candidates are far better than one (Mitzenmacher, "The power of two choices in randomized load
balancing", IEEE TPDS 12(10), 2001). With reports a second old, 32 save 3 % of the mean job time of
16, and cost 1.5 µs, in a fleet of any size. Neighbours share cache lines. Two runs are as good as
32 random nodes, one run is not."""

_SEARCHED = 256
"""How many of the given nodes are sampled in search of the best tier, before all are looked at."""

_MAX_COMBINATIONS = 256
"""The most combinations of containers to cache candidates for, those used most recently."""


class Tier(IntEnum):
    """An order of preference: a node gets a job only if no candidate is in a better tier."""

    NORMAL = 0
    FULL = 1
    """Its utilization is over the threshold."""
    SUSPECT = 2
    """Its last poll ran out of time: it is the last resort."""
    DRAINED = 3
    """By an operator's order, it gets no job at all. This is always the last tier."""


_CLASSES = int(Tier.DRAINED)
"""How many tiers get jobs: so many classes of nodes where the first container is external come
before as many where it is not."""

Key = TypeVar("Key")


class Candidate:
    """The part of a node that decides which jobs it can do."""

    __slots__ = ("containers", "index", "tier")

    def __init__(self, index: int) -> None:
        self.index = index
        """The index of its load."""
        self.containers: dict[str, bool] = {}
        """While it is up or suspect: each container it runs, and whether that is external."""
        self.tier = Tier.NORMAL

    def takes(self, containers: Collection[str], first: str | None = None) -> bool:
        """
        Whether it runs all these containers, and the first is external; any of them, if that is
        None.

        A node refuses a job whose first container is not external.
        """
        external = [self.containers.get(container) for container in containers]
        if None in external:
            return False
        return True in external if first is None else self.containers[first]


class Group:
    """A set of nodes: their indices, in one array for each tier."""

    __slots__ = ("_positions", "_tiers")

    def __init__(self) -> None:
        self._tiers = [array("q")]
        """By tier, up to the last one ever needed: there are many groups, most with one tier."""
        self._positions: dict[int, int] = {}
        """By index of a node, its position in the array of its tier."""

    def __len__(self) -> int:
        return len(self._positions)

    def __contains__(self, index: int) -> bool:
        return index in self._positions

    def __iter__(self) -> Iterator[int]:
        return iter(self._positions)

    def set(self, node: Candidate, member: bool) -> None:
        """Add a node, or remove it. It must be removed before its tier changes."""
        index, tier = node.index, int(node.tier)
        if member == (index in self._positions):
            return
        if member:
            while len(self._tiers) <= tier:
                self._tiers.append(array("q"))
            self._positions[index] = len(self._tiers[tier])
            self._tiers[tier].append(index)
        else:
            position, last = self._positions.pop(index), self._tiers[tier].pop()
            if last != index:
                self._tiers[tier][position] = last
                self._positions[last] = position

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
        self._together: dict[tuple[str | None, frozenset[str]], Group] = {}
        """By combination of containers, and the one that must be external or None for any, its
        candidates; the most recently used combination is last."""

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
        for (first, together), group in self._together.items():
            if not changed.isdisjoint(together):
                group.set(node, node.takes(together, first))

    def set_tier(self, node: Candidate, tier: Tier) -> None:
        """Set the tier of a node."""
        containers = node.containers
        self.set_containers(node, {})
        node.tier = tier
        self.set_containers(node, containers)

    def of(self, asked: tuple[str, ...]) -> Group | None:
        """
        The candidates for these containers, drained ones too; None or empty without any.

        The first container is external on all of them or, if it is on no node, any container is.
        """
        if len(asked) == 1:  # _combination does this, too: it is the usual case
            return self._external.get(asked[0])
        return self._combination(asked, asked[0]) or self._combination(asked, None)

    def _combination(self, asked: tuple[str, ...], first: str | None) -> Group | None:
        """The nodes that run all these containers, the `first` or, if None, any as external."""
        if len(asked) == 1:
            return self._external.get(asked[0])
        key = first, frozenset(asked)
        group = self._together.pop(key, None)
        if group is None:
            running = [self._running(container) for container in asked]
            fewest = min(running, key=lambda groups: sum(map(len, groups)), default=[])
            if not fewest:
                return None
            group = Group()
            for index in chain(*fewest):
                node = self._nodes[index]
                assert node is not None
                group.set(node, node.takes(asked, first))
            if len(self._together) == _MAX_COMBINATIONS:
                del self._together[next(iter(self._together))]
        self._together[key] = group
        return group

    def sample_of(
        self, asked: tuple[str, ...], some: Sequence[Key], find: Callable[[Key], Candidate | None]
    ) -> Sequence[int]:
        """
        A sample of the candidates among given nodes; empty if none of them is one.

        All are in the same class: the best, or another if nodes in the best are too rare to find
        soon.

        :param find: returns the node that an item of `some` stands for.
        """
        best = next((number for number, there in enumerate(self.serving(asked)) if there), 0)
        for count in (2 * _RUN, _SEARCHED):
            if len(some) <= count:
                break
            found = self._classes(asked, map(find, self._random.sample(some, count)))
            if found and (count == _SEARCHED or min(found) == best):
                return found[min(found)]
        found = self._classes(asked, map(find, some))
        return found[min(found)] if found else ()

    def serving(
        self, asked: tuple[str, ...], some: Iterable[Candidate | None] | None = None
    ) -> list[Sequence[int]]:
        """
        The candidates that get jobs, among given nodes or all, in classes, the best class first.

        Nodes where the first container is external come before those where only another one is;
        among these, better tiers come first.
        """
        if some is not None:
            found = self._classes(asked, some)
            return [found[number] for number in sorted(found)]
        first, other = (self._combination(asked, first) or Group() for first in (asked[0], None))
        classes: list[Sequence[int]] = [*first.serving]
        if len(other) > len(first):
            classes += [array("q")] * (_CLASSES - len(classes))
            classes += [[index for index in tier if index not in first] for tier in other.serving]
        return classes

    def sample_without(
        self,
        excluded: Collection[int],
        sample: Sequence[int],
        asked: tuple[str, ...],
        some: Iterable[Candidate | None] | None = None,
    ) -> Sequence[int]:
        """
        A sample without these nodes or, if nothing of it is left, the best class without them.

        Empty when all candidates are excluded.
        """
        (left,) = without(excluded, [sample])
        if left:
            return left
        return next(filter(None, without(excluded, self.serving(asked, some))), ())

    def counts(self) -> Counter[str]:
        """By container, how many up nodes run it."""
        counts = Counter[str]()
        for groups in (self._external, self._internal):
            for container, group in groups.items():
                counts[container] += len(group)
        return counts

    def why_none(self, asked: tuple[str, ...]) -> tuple[str, Reason]:
        """Why none of the nodes that are up gets a job for these containers."""
        absent = [
            quoted(container)
            for container in asked
            if container not in self._external and container not in self._internal
        ]
        if absent:
            return f"no up node runs {' or '.join(absent)}", Reason.NOT_RUNNING
        named = ", ".join(map(quoted, asked))
        if self.of(asked):
            return f"every up node that runs {named} is drained", Reason.DRAINED
        if len(asked) == 1:
            why = f"no up node takes jobs for {named}, which is not external"
            return why, Reason.NOT_EXTERNAL
        why = f"no single up node runs all of {named} and takes jobs for one of them"
        return why, Reason.NOT_TOGETHER

    def _running(self, container: str) -> list[Group]:
        """The nodes that are up and run a container, as groups."""
        groups = self._external.get(container), self._internal.get(container)
        return [group for group in groups if group]

    def _classes(
        self, asked: tuple[str, ...], nodes: Iterable[Candidate | None]
    ) -> dict[int, list[int]]:
        """The candidates that get jobs among these nodes, by the number of their class."""
        classes: dict[int, list[int]] = {}
        for node in nodes:
            if node is not None and node.tier < Tier.DRAINED and node.takes(asked):
                number = node.tier + (0 if node.containers[asked[0]] else _CLASSES)
                classes.setdefault(number, []).append(node.index)
        return classes


def without(excluded: Collection[int], classes: list[Sequence[int]]) -> list[Sequence[int]]:
    """These classes of nodes without the excluded ones."""
    if not excluded:
        return classes
    return [[index for index in equals if index not in excluded] for equals in classes]
