"""Outgoing: what a replica has to tell the others since its last batch."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from infernet_router.fleet import Outcome
from infernet_router.replicas.batches import (
    HEAVIEST,
    LIGHTEST,
    MAX_DESCRIPTION,
    MAX_JOBS,
    SPLIT_BYTES,
    Batch,
    Jobs,
    Misses,
    Outcomes,
    Passed,
    Reports,
    encode,
    size_of,
)
from infernet_router.replicas.shares import KEY_SIZE, Share
from infernet_router.reports import NodeReport

_MOST_PASSED = 200
"""The most outcomes that are passed on in one batch; more come from nobody but an attacker."""

_REASON = 1000
"""The most characters of a reason."""


Group = TypeVar("Group", Reports, Misses, Outcomes)


class Outgoing:
    """What a replica has to tell: at most one entry for each node, however long it cannot tell."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.since: float | None = None
        """When the first of all this happened; None if there is nothing to tell."""
        self._jobs: dict[Share, list[float]] = {}
        """By node, how many jobs, and their weight together."""
        self._reports: dict[Share, tuple[NodeReport, float]] = {}
        self._misses: dict[Share, tuple[str, float]] = {}
        self._outcomes: dict[tuple[Share, Outcome], None] = {}
        self._passed: list[Passed] = []

    def assigned(self, share: Share, weight: float, jobs: int, now: float) -> None:
        """Jobs were assigned to a node."""
        given = self._jobs.get(share)
        if given is None:
            self._jobs[share] = [jobs, weight * jobs]
            self._note(now)
        else:
            given[0] += jobs
            given[1] += weight * jobs

    def reported(self, share: Share, report: NodeReport, now: float) -> None:
        """A node reported."""
        self._reports[share] = report, now
        self._misses.pop(share, None)
        self._note(now)

    def missed(self, share: Share, reason: str, now: float) -> None:
        """A poll of a node failed."""
        self._misses[share] = reason[:_REASON], now
        self._reports.pop(share, None)
        self._note(now)

    def told(self, share: Share, outcome: Outcome, now: float) -> None:
        """A client reported the outcome of a job."""
        self._outcomes[share, outcome] = None
        self._note(now)

    def passed(self, passed: Passed, now: float) -> None:
        """A client reported the outcome of a decision of another member."""
        if len(self._passed) < _MOST_PASSED:
            self._passed.append(passed)
            self._note(now)

    def drop(self) -> None:
        """Forget all, as it is too old to be told."""
        self._clear()

    def take(self, sender: bytes, number: int, now: float, orders_digest: int) -> list[bytes]:
        """
        All there is to tell, as messages; one without content if there is nothing.

        :param number: that of the first batch.
        :param orders_digest: that of the operators' orders that are known here.
        """
        reports, unshared = self._grouped(now)
        batch = Batch(
            sender,
            number,
            now,
            orders_digest=orders_digest,
            jobs=_jobs(self._jobs.items()),
            reports=reports,
            misses=self._grouped_misses(now),
            unshared=unshared,
            outcomes=self._grouped_outcomes(),
            passed=self._passed,
        )
        self._clear()
        batches = enumerate(_split(batch))
        return [encode(replace(part, number=number + place)) for place, part in batches]

    def _note(self, now: float) -> None:
        if self.since is None:
            self.since = now

    def _grouped(self, now: float) -> tuple[list[Reports], bytes]:
        """The reports by description, and the nodes whose description is too large."""
        groups = defaultdict[tuple[object, ...], list[tuple[Share, NodeReport, float]]](list)
        for share, (report, at) in self._reports.items():
            key = report.containers, report.version, tuple(report.pending)
            groups[key].append((share, report, at))
        grouped, unshared = [], b""
        for group in groups.values():
            keys, first = b"".join([share.key for share, _, _ in group]), group[0][1]
            if size_of(first.containers) > MAX_DESCRIPTION:
                unshared += keys
                continue
            grouped.append(
                Reports(
                    containers=list(first.containers),
                    version=first.version,
                    kinds=list(first.pending),
                    keys=keys,
                    ages=[_age(at, now) for _, _, at in group],
                    pending=[n for _, report, _ in group for n in report.pending.values()],
                )
            )
        return grouped, unshared

    def _grouped_misses(self, now: float) -> list[Misses]:
        groups = defaultdict[str, list[tuple[bytes, int]]](list)
        for share, (reason, at) in self._misses.items():
            groups[reason].append((share.key, _age(at, now)))
        return [
            Misses(reason, b"".join([key for key, _ in group]), [age for _, age in group])
            for reason, group in groups.items()
        ]

    def _grouped_outcomes(self) -> list[Outcomes]:
        groups = defaultdict[Outcome, list[bytes]](list)
        for share, outcome in self._outcomes:
            groups[outcome].append(share.key)
        return [Outcomes(outcome, b"".join(keys)) for outcome, keys in groups.items()]


def _jobs(given: Iterable[tuple[Share, list[float]]]) -> Jobs:
    keys, counts, weights = [], [], []
    for share, (jobs, weight) in given:
        keys.append(share.key)
        counts.append(min(int(jobs), MAX_JOBS))
        weights.append(min(max(weight / jobs, LIGHTEST), HEAVIEST))
    is_usual = all(weight == 1.0 for weight in weights)
    return Jobs(b"".join(keys), counts, [] if is_usual else weights)


def _age(at: float, now: float) -> int:
    """The milliseconds since then: at most some seconds, as all older is dropped."""
    return max(0, round((now - at) * 1000))


def _split(batch: Batch) -> Iterator[Batch]:
    """The parts of a batch, each small enough to be sent."""
    if len(encode(batch)) <= SPLIT_BYTES:
        yield batch
        return
    counts, weights, half = batch.jobs.counts, batch.jobs.weights, len(batch.jobs.counts) // 2
    at = half * KEY_SIZE
    some = Jobs(batch.jobs.keys[:at], counts[:half], weights[:half])
    more = Jobs(batch.jobs.keys[at:], counts[half:], weights[half:])
    some_reports, more_reports = _halves(batch.reports, _halved_reports)
    some_misses, more_misses = _halves(batch.misses, _halved_misses)
    some_outcomes, more_outcomes = _halves(batch.outcomes, _halved_outcomes)
    some_unshared, more_unshared = _halved(batch.unshared)
    yield from _split(
        replace(
            batch,
            jobs=some,
            reports=some_reports,
            misses=some_misses,
            unshared=some_unshared,
            outcomes=some_outcomes,
        )
    )
    yield from _split(
        replace(
            batch,
            jobs=more,
            reports=more_reports,
            misses=more_misses,
            unshared=more_unshared,
            outcomes=more_outcomes,
            passed=[],
        )
    )


def _halves(
    groups: list[Group], halved: Callable[[Group], tuple[Group, Group]]
) -> tuple[list[Group], list[Group]]:
    """Two halves of some groups, of which a single one is divided."""
    if len(groups) == 1:
        one, other = halved(groups[0])
        return [one], [other]
    half = len(groups) // 2
    return groups[:half], groups[half:]


def _halved(keys: bytes) -> tuple[bytes, bytes]:
    at = len(keys) // KEY_SIZE // 2 * KEY_SIZE
    return keys[:at], keys[at:]


def _halved_reports(group: Reports) -> tuple[Reports, Reports]:
    half, (some, more) = len(group.ages) // 2, _halved(group.keys)
    cut, ages, pending = half * len(group.kinds), group.ages, group.pending
    return (
        replace(group, keys=some, ages=ages[:half], pending=pending[:cut]),
        replace(group, keys=more, ages=ages[half:], pending=pending[cut:]),
    )


def _halved_misses(group: Misses) -> tuple[Misses, Misses]:
    half, (some, more) = len(group.ages) // 2, _halved(group.keys)
    return (
        replace(group, keys=some, ages=group.ages[:half]),
        replace(group, keys=more, ages=group.ages[half:]),
    )


def _halved_outcomes(group: Outcomes) -> tuple[Outcomes, Outcomes]:
    some, more = _halved(group.keys)
    return replace(group, keys=some), replace(group, keys=more)
