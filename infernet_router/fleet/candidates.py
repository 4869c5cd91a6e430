"""Candidates: finds the nodes that can do a job, in classes, the best first."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain, islice
from operator import and_, or_
from random import Random
from typing import TypeVar

from infernet_router.fleet.groups import RUN, Candidate, Group, Tier, bits_of, indices_of
from infernet_router.fleet.no_node import Reason
from infernet_router.fleet.steps import Steps
from infernet_router.quoting import quoted

_SEARCHED = 256
"""How many of the given nodes are sampled in search of the best tier, before all are looked at."""

_FEW = 512
"""So few nodes are looked at one by one, where the sets of more are intersected."""

_STEP = 1000
"""How many of the given nodes are looked at in a step."""

_MAX_COMBINATIONS = 256
"""The most combinations of containers to cache candidates for, those used most recently."""

_MAX_MEMBERS = 250_000
"""The most candidates in all these, unless a single combination has more; each takes 100 bytes."""

_CLASSES = int(Tier.DRAINED)
"""How many tiers get jobs: so many classes of nodes where the first container is external come
before as many where it is not."""

Key = TypeVar("Key")


class Candidates:
    """
    Finds the candidates for any job.

    :param nodes: every node, by its index.
    :param random: chooses which candidates are compared.
    """

    def __init__(
        self, nodes: Sequence[Candidate | None] | Mapping[int, Candidate], random: Random
    ) -> None:
        self._nodes = nodes
        self._random = random
        self._external: dict[str, Group] = {}
        """By container, the nodes that are up and run it as an external one."""
        self._internal: dict[str, Group] = {}
        """By container, the nodes that are up and run it as one that is not external."""
        self._unusual = dict.fromkeys(list(Tier)[1:], 0)
        """The nodes in each tier but the first, as bits."""
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
        if tier is not node.tier:
            for each in {tier, node.tier} & self._unusual.keys():
                self._unusual[each] ^= 1 << node.index
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

    def is_cached(self, asked: Sequence[str]) -> bool:
        """Whether the candidates need not be searched for."""
        return len(asked) == 1 or (asked[0], frozenset(asked)) in self._together

    def bits_of(self, asked: tuple[str, ...], first: str | None) -> int:
        """
        As bits, the nodes that run all these containers, the `first` or, if None, any as external;
        drained ones too.
        """
        if len(asked) > 1:
            return self._find(asked, first)
        group = self._external.get(asked[0])
        return group.bits if group else 0

    def count_by_tier(self, bits: int) -> list[int]:
        """How many of these nodes are in each tier."""
        unusual = [(bits & members).bit_count() for members in self._unusual.values()]
        return [bits.bit_count() - sum(unusual), *unusual]

    def tier_of(self, index: int) -> Tier:
        """The tier of a node."""
        node = self._nodes[index]
        assert node is not None
        return node.tier

    def _combination(self, asked: tuple[str, ...], first: str | None) -> Group | None:
        """The nodes that run all these containers, the `first` or, if None, any as external."""
        if len(asked) == 1:
            return self._external.get(asked[0])
        key = first, frozenset(asked)
        group = self._together.pop(key, None)
        if group is None:
            group = Group(self._by_tier(self._find(asked, first)))
            size = len(group) + sum(map(len, self._together.values()))
            while self._together and (
                size > _MAX_MEMBERS or len(self._together) >= _MAX_COMBINATIONS
            ):
                size -= len(self._together.pop(next(iter(self._together))))
        self._together[key] = group
        return group

    def _find(self, asked: tuple[str, ...], first: str | None) -> int:
        """As bits, the nodes that run all these, the `first` or, if None, any as external."""
        if first is not None and first not in self._external:
            return 0
        running = [self._running(container) for container in asked]
        fewest = min(running, key=lambda groups: sum(map(len, groups)))
        if not fewest:
            return 0
        if sum(map(len, fewest)) <= _FEW:
            nodes = [(index, self._nodes[index]) for index in chain(*fewest)]
            return bits_of(index for index, node in nodes if node and node.takes(asked, first))
        bits = reduce(and_, [reduce(or_, [group.bits for group in groups]) for groups in running])
        wanted = asked if first is None else (first,)
        external = [
            self._external[container] for container in wanted if container in self._external
        ]
        return bits & reduce(or_, [group.bits for group in external], 0)

    def _by_tier(self, bits: int) -> list[list[int]]:
        """These nodes by tier."""
        unusual = [bits & members for members in self._unusual.values()]
        return [indices_of(tier) for tier in (bits & ~reduce(or_, unusual), *unusual)]

    def gets(self, index: int, asked: tuple[str, ...]) -> bool:
        """Whether the node with this index, if there is still one, gets such jobs."""
        node = self._nodes[index]
        return node is not None and node.tier < Tier.DRAINED and node.takes(asked)

    def can(self, asked: tuple[str, ...]) -> bool:
        """Whether any candidate gets jobs."""
        return any(self.classes(asked))

    def classes(self, asked: tuple[str, ...]) -> Iterator[Sequence[int]]:
        """
        The candidates that get jobs in classes, the best class first; some may be empty.

        Nodes where the first container is external come before those where only another one is;
        among these, better tiers come first.
        """
        first = self._combination(asked, asked[0]) or Group()
        yield from first.serving
        if len(asked) > 1:
            yield from [()] * (_CLASSES - len(first.serving))
            others = self._find(asked, None) & ~self._find(asked, asked[0])
            yield from self._by_tier(others)[:_CLASSES]

    def classes_among(
        self,
        asked: tuple[str, ...],
        some: Sequence[Key],
        find: Callable[[Key], Candidate | None],
        excluded: Collection[int] = (),
    ) -> Steps[list[Sequence[int]]]:
        """
        The candidates that get jobs among given nodes, in classes as above.

        :param find: returns the node that an item of `some` stands for.
        :param excluded: nodes to leave out.
        """
        classes: list[list[int]] = [[] for _ in range(2 * _CLASSES)]
        for start in range(0, len(some), _STEP):
            for node in map(find, some[start : start + _STEP]):
                if node and node.index not in excluded and self.gets(node.index, asked):
                    number = node.tier + (0 if node.containers[asked[0]] else _CLASSES)
                    classes[number].append(node.index)
            yield
        return [*classes]

    def sample_among(
        self,
        asked: tuple[str, ...],
        some: Sequence[Key],
        find: Callable[[Key], Candidate | None],
        excluded: Collection[int] = (),
    ) -> Steps[Sequence[int]]:
        """
        A sample of the candidates among given nodes; empty if none of them is one.

        All are in the same class: the best, or another if nodes in the best are too rare to find
        soon. Parameters are those of `classes_among`.
        """
        best = next((number for number, there in enumerate(self.classes(asked)) if there), 0)
        yield
        for count in (2 * RUN, _SEARCHED):
            if count >= len(some):
                break
            searched = self._random.sample(some, count)
            classes = yield from self.classes_among(asked, searched, find, excluded)
            found = next((number for number, there in enumerate(classes) if there), None)
            if found is not None and (count == _SEARCHED or found == best):
                return classes[found]
        classes = yield from self.classes_among(asked, some, find, excluded)
        return next(filter(None, classes), ())

    def sample_without(self, excluded: Collection[int], asked: tuple[str, ...]) -> Sequence[int]:
        """Some nodes of the best class that has any others; empty if all are excluded."""
        for equals in self.classes(asked):
            left = (index for index in equals if index not in excluded)
            if sample := list(islice(left, 2 * RUN)):
                return sample
        return ()

    def equals_of(self, index: int, others: Iterable[int], first: str) -> list[int]:
        """Those of some candidates that are in the same class as one of them."""

        def number(index: int) -> tuple[Tier, bool]:
            node = self._nodes[index]
            assert node is not None
            return node.tier, node.containers[first]

        return [other for other in others if number(other) == number(index)]

    def by_container(self, container: str) -> list[Group]:
        """The nodes that are up and run a container, as groups; drained ones too."""
        return self._running(container)

    @property
    def running(self) -> list[str]:
        """All containers that up nodes run."""
        return [*self._external, *(self._internal.keys() - self._external.keys())]

    def count(self, container: str) -> int:
        """How many up nodes run a container."""
        return sum(map(len, self._running(container)))

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


def without(excluded: Collection[int], equals: Sequence[int]) -> Sequence[int]:
    """This class of nodes without the excluded ones."""
    return [index for index in equals if index not in excluded] if excluded else equals
