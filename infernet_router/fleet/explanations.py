"""Explanations: what a job would cost at every candidate, and why a node is not a candidate."""

from collections.abc import Collection
from heapq import nsmallest

from attrs import evolve, frozen

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.among import Among
from infernet_router.fleet.decisions import Compared
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.load import Loads
from infernet_router.fleet.no_node import all_excluded
from infernet_router.fleet.node import Node, State
from infernet_router.fleet.roster import Roster
from infernet_router.fleet.steps import Steps
from infernet_router.quoting import quoted

_STEP = 4096
"""How many nodes are looked at in one step: a few milliseconds."""


@frozen
class NodeExplanation:
    """Why a job would go to a node, or would not."""

    node: NodeAddress
    rank: int | None
    """Its rank among the candidates, counted from 1; None if it is no candidate."""
    why: str
    """Why it has this rank, or is no candidate."""


@frozen
class Explanation:
    """Where a job would go now."""

    candidates: int
    """How many nodes can get the job, in any class."""
    nodes: tuple[Compared, ...]
    """The best of them, best first."""
    node: NodeExplanation | None
    """The node that was asked about; None if none was."""
    why: str | None
    """Why there is no candidate; None if there is one."""


@frozen
class _Job:
    """A job to be explained."""

    asked: tuple[str, ...]
    now: float
    weight: float
    some: Collection[NodeAddress] | None
    """The nodes to choose from; None for all."""
    excluded: frozenset[int]
    order: int
    """Breaks ties, as in Loads.cheapest_first."""


_Key = tuple[bool, Tier, float, int, int]
"""By which candidates are sorted: whether the first container is not external there, the tier, the
cost, the place among equals, and the index."""


def explain(
    roster: Roster,
    loads: Loads,
    asked: tuple[str, ...],
    now: float,
    weight: float,
    among: Among | None,
    exclude: Collection[NodeAddress],
    node: NodeAddress | None,
    limit: int,
    order: int,
    max_utilization: float,
) -> Steps[Explanation]:
    """Explain where a job would go now, as Fleet.explain describes it."""
    some: set[NodeAddress] = set()
    for start in range(0, 0 if among is None else len(among.addresses), _STEP):
        assert among is not None
        addresses = among.addresses[start : start + _STEP]
        some.update(filter(among.includes, addresses) if among.includes else addresses)
        yield
    job = _Job(
        asked,
        now,
        weight,
        None if among is None else some,
        frozenset(roster.indices(exclude)),
        order,
    )
    best: list[_Key] = []
    asked_about = None if node is None else roster.nodes.get(node)
    keys: list[_Key]
    # The key of the node that is asked about: it has as many better candidates as its rank says.
    own = None if asked_about is None else _key(asked_about, loads, job)
    count, better = 0, 0
    for start in range(0, len(roster.by_index), _STEP):
        keys = []
        for other in roster.by_index[start : start + _STEP]:
            if other is not None and (key := _key(other, loads, job)) is not None:
                keys.append(key)
        count += len(keys)
        if own is not None:
            better += sum(key < own for key in keys if key[-1] != own[-1])
        best = nsmallest(max(limit, 1), best + keys)
        yield
    nodes = []
    for *_, cost, _, index in best[:limit]:
        other = roster.by_index[index]
        if other is not None:
            jobs = loads.jobs(index, now)
            nodes.append(Compared(other.address, cost, jobs, loads.rate(index)))
    about = None
    if node is not None and asked_about is None:
        about = NodeExplanation(node, None, f"{node} is not known: no source names it")
    elif asked_about is not None and own is None:
        why = _why_none(asked_about, roster, job)
        about = NodeExplanation(asked_about.address, None, why)
    elif asked_about is not None and own is not None:
        why = _why_ranked(asked_about, loads, job, own, best[0], max_utilization)
        about = NodeExplanation(asked_about.address, better + 1, why)
    why_none = None if count else _why_no_candidate(roster, loads, job, among)
    return Explanation(count, tuple(nodes), about, why_none)


def _why_no_candidate(roster: Roster, loads: Loads, job: _Job, among: Among | None) -> str:
    """Why no node is a candidate, as clients are told."""
    if not roster.candidates.can(job.asked):
        return str(roster.no_candidate(job.asked))
    if among is not None:
        every = evolve(job, excluded=frozenset())
        excluded = filter(None, (roster.by_index[index] for index in job.excluded))
        if all(_key(node, loads, every) is None for node in excluded):
            return among.otherwise
    return str(all_excluded(job.asked))


def _key(node: Node, loads: Loads, job: _Job) -> _Key | None:
    """The key of a node; None if it is no candidate."""
    if node.tier is Tier.DRAINED or not node.takes(job.asked) or node.index in job.excluded:
        return None
    if job.some is not None and node.address not in job.some:
        return None
    index = node.index
    cost = loads.cost(index, job.now, job.weight)
    return not node.containers[job.asked[0]], node.tier, cost, index ^ job.order, index


def _why_none(node: Node, roster: Roster, job: _Job) -> str:
    """Why a node is no candidate: all reasons, the most important first."""
    reasons = []
    since = f"for {_duration(job.now - node.since)}"
    if node.state is State.UNKNOWN:
        if node.reason:
            return f"it has not reported yet: {node.reason}"
        return "its first poll is not back yet"
    if node.state is State.DOWN:
        reasons.append(f"it has been down {since}: {node.reason}")
    if node.reported_at is None:
        return "; ".join([*reasons, "it has never reported what it runs"])
    containers = roster.last_containers(node)
    last = " in its last report" if node.state is State.DOWN else ""
    absent = [quoted(container) for container in job.asked if container not in containers]
    if absent:
        reasons.append(f"it does not run {' or '.join(absent)}{last}")
    elif not any(containers[container] for container in job.asked):
        named = " or ".join(map(quoted, job.asked))
        reasons.append(f"{named} is not external there{last}, so it takes no jobs for it")
    if node.override is Tier.DRAINED:
        reasons.append("an operator drained it")
    if node.index in job.excluded:
        reasons.append("it is excluded by the request")
    if job.some is not None and node.address not in job.some:
        reasons.append("it is not known to support the model")
    return "; ".join(reasons)


def _why_ranked(
    node: Node, loads: Loads, job: _Job, own: _Key, best: _Key, max_utilization: float
) -> str:
    """Why a candidate has its rank."""
    reasons = []
    if own[0] and not best[0]:
        first = quoted(job.asked[0])
        reasons.append(f"{first} is not external there, and nodes where it is come first")
    if node.state is State.SUSPECT:
        since = _duration(job.now - node.since)
        reasons.append(f"it has been suspect for {since}: {node.reason}; others come first")
    if node.is_full:
        used = "" if node.utilization is None else f": {node.utilization:.0%} of its GPU memory"
        reasons.append(
            f"it is full{used} is in use, over {max_utilization:.0%}; others come first"
            if used
            else "it is full; others come first"
        )
    if loads.is_doubted(node.index):
        evidence = loads.evidence(node.index)
        reasons.append(f"it is doubted, so it costs 1000 times as much: {evidence}")
    if (weight := loads.share(node.index)) != 1.0:
        reasons.append(f"it has {weight:g} times the usual share of jobs")
    if own[:2] == best[:2]:
        if own[-1] == best[-1]:
            reasons.append("a job costs least there")
        elif best[2] > 0.0:
            reasons.append(f"a job costs {own[2] / best[2]:.3g} times as much as at the best node")
        else:
            reasons.append("a job costs more than at the best node")
    return "; ".join(reasons)


def _duration(seconds: float) -> str:
    """A time in words, in the largest unit of which it has at least two."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds / length)} {unit}"
    count = int(seconds)
    return f"{count} second{'' if count == 1 else 's'}"
