"""Metrics: what Prometheus is told, collected from plain numbers when it asks."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from math import inf
from typing import TypeVar

from attrs import frozen
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from infernet_router import __version__
from infernet_router.admin.census import Count, nodes_of
from infernet_router.admin.replication import Replication, replication_metrics
from infernet_router.admin.shown import Shown
from infernet_router.counting import OTHER, Counts, Histogram
from infernet_router.fleet import BOUNDS, Fleet, Outcome, Reason, Records, State
from infernet_router.fleet.decisions import Decisions
from infernet_router.sources import Sources

_PREFIX = "infernet_router_"

_MOST_CONTAINERS = 50
"""How many containers have series of their own; the others share one."""

_BOUNDS = (0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0)
"""The bounds of histograms that are shown, in seconds: few, as each is a series for each path."""

_ENTERED = (State.UP, State.SUSPECT, State.DOWN)
"""The states that nodes can enter."""

_RESULTS = ("ok", "timeout", "refused", "closed", "status", "report", "tls", "limited", "other")

Family = TypeVar("Family", CounterMetricFamily, GaugeMetricFamily)


@frozen
class Gauges:
    """Numbers that are read when they are needed, from the parts of the router that have them."""

    connections: Mapping[str, Callable[[], int]]
    """By side."""
    poll_interval: Callable[[], float]
    fleet: Fleet
    delay: Histogram
    sources: Sources
    lines_dropped: Callable[[], int]
    """Lines of the log that could not be written."""
    replication: Replication | None = None


class Exposition:
    """Makes the answer to GET /metrics."""

    def __init__(self, counts: Counts, gauges: Gauges) -> None:
        self._collector = _Collector(counts, gauges)
        self._registry = CollectorRegistry()
        self._registry.register(self._collector)
        ProcessCollector(registry=self._registry)

    def make(self, count: Count, accept: str) -> tuple[bytes, str]:
        """
        The metrics when the nodes are like this, and their content type.

        :param accept: the Accept header, which chooses between Prometheus' text and OpenMetrics.
        """
        encode, content_type = choose_encoder(accept)
        self._collector.count = count
        self._collector.with_examples = "openmetrics" in content_type
        return encode(self._registry), content_type


class _Collector(Collector):
    """Collects the metrics of the router."""

    def __init__(self, counts: Counts, gauges: Gauges) -> None:
        self._counts = counts
        self._gauges = gauges
        self._decisions = _Decisions()
        self.count = Count()
        """The nodes."""
        self.with_examples = False
        """Whether buckets have exemplars."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry would collect everything once to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        gauges = self._gauges
        yield InfoMetricFamily(_PREFIX + "build", "The version.", {"version": __version__})
        yield from self._requests()
        yield from self._answers()
        yield from self._polls()
        yield from self._process()
        yield from self._sources()
        yield from self._nodes()
        if gauges.replication is not None:
            yield from replication_metrics(gauges.replication)
        if gauges.fleet.records is not None:
            yield from self._records(gauges.fleet.records)

    def _answers(self) -> Iterator[Metric]:
        """What requests led to, besides a node."""
        counts = self._counts
        yield _counter(
            "no_node",
            "Requests for which there was no node.",
            "reason",
            {reason.value: counts.no_node[reason] for reason in Reason},
        )
        yield _counter(
            "outcomes",
            "Outcomes of jobs that clients reported.",
            "outcome",
            {outcome.value: counts.outcomes[outcome.value] for outcome in Outcome},
        )
        actions = CounterMetricFamily(
            _PREFIX + "admin_actions",
            "What operators did or tried to do.",
            labels=("action", "result"),
        )
        for labels, number in sorted(counts.actions.items()):
            actions.add_metric(labels, number)
        yield actions
        yield _counter("rate_limited", "Requests over the rate limit.", "", counts.rate_limited)
        yield _counter(
            "connections_refused", "Connections of clients over the limit.", "", counts.refused
        )

    def _polls(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter(
            "polls",
            "Polls that ended.",
            "result",
            {result: counts.polls[result] for result in _RESULTS},
        )
        yield self._times("poll_seconds", "Time a poll took.", counts.poll_seconds)
        yield _counter(
            "node_transitions",
            "Changes of the state of a node.",
            "to",
            {state.value: self._gauges.fleet.transitions[state] for state in _ENTERED},
        )

    def _process(self) -> Iterator[Metric]:
        gauges = self._gauges
        late = "How late the router is with what is due."
        yield self._times("reactor_delay_seconds", late, gauges.delay)
        yield _gauge(
            "poll_interval_seconds",
            "Time between two polls of an idle node.",
            "",
            gauges.poll_interval(),
        )
        yield _gauge(
            "connections",
            "Open connections.",
            "side",
            {side: count() for side, count in gauges.connections.items()},
        )
        yield _counter(
            "log_lines_dropped",
            "Lines of the log that could not be written.",
            "",
            gauges.lines_dropped(),
        )

    def _requests(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            _PREFIX + "requests", "Responses to clients.", labels=("path", "code")
        )
        seconds = _histogram("request_seconds", "Time from a request to its response.", "path")
        for path, counted in sorted(self._counts.paths.items()):
            for code, number in sorted(counted.codes.items()):
                requests.add_metric((path, str(code)), number)
            if counted.codes:
                self._add(seconds, [path], counted.seconds)
        yield requests
        yield seconds

    def _sources(self) -> Iterator[Metric]:
        successes: dict[str, float] = {}
        for source in self._gauges.sources.states():
            at = source.last_success or 0.0
            successes[source.kind] = min(at, successes.get(source.kind, at))
        errors = {kind: self._counts.source_errors[kind] for kind in successes}
        yield _counter("source_errors", "Failures to read a source of addresses.", "kind", errors)
        yield _gauge(
            "source_last_success_timestamp_seconds",
            "When a source was good last; of several of a kind, the one for which that is longest"
            " ago.",
            "kind",
            successes,
        )

    def _nodes(self) -> Iterator[Metric]:
        count = self.count
        yield _gauge(
            "nodes",
            "Nodes.",
            "state",
            {state.value: number for state, number in count.nodes.items()},
        )
        yield _gauge(
            "oldest_report_age_seconds", "Age of the oldest report in use.", "", count.oldest_report
        )
        yield _gauge("overrides", "Overrides, the orders of operators.", "", count.overridden)
        nodes = GaugeMetricFamily(
            _PREFIX + "container_nodes",
            "Nodes that run a container; no series for none, but of those that are up.",
            labels=("container", "state"),
        )
        jobs: dict[str, float] = {}
        capacity: dict[str, float] = {}
        states: dict[str, dict[Shown, int]] = {}
        for position, container in enumerate(count.containers):
            label = container.id if position < _MOST_CONTAINERS else OTHER
            jobs[label] = jobs.get(label, 0.0) + container.jobs
            capacity[label] = capacity.get(label, 0.0) + container.capacity
            sums = states.setdefault(label, {Shown.UP: 0})
            for state, number in nodes_of(container).items():
                sums[state] = sums.get(state, 0) + number
        for label, sums in states.items():
            for state, number in sums.items():
                nodes.add_metric((label, state.value), number)
        yield nodes
        yield _gauge(
            "container_jobs", "Estimated jobs at the nodes that run a container.", "container", jobs
        )
        yield _gauge(
            "container_capacity_jobs_per_second",
            "Jobs a second that the nodes that run a container finish while busy.",
            "container",
            capacity,
        )

    def _records(self, records: Records) -> Iterator[Metric]:
        """What was decided, and how right it was."""
        named = [container.id for container in self.count.containers[:_MOST_CONTAINERS]]
        yield _counter(
            "decisions",
            "Nodes handed out, by the first container asked for.",
            "container",
            self._decisions.of(records.decisions, named),
        )
        accuracy, shadow = records.accuracy, records.shadow
        errors = _histogram("queue_error_jobs", "|expected - reported| jobs at each report.")
        bounds = (*map(floatToGoString, BOUNDS), "+Inf")
        errors.add_metric(
            [], list(zip(bounds, accumulate(accuracy.errors), strict=True)), accuracy.error_sum
        )
        yield errors
        yield _counter(
            "choices_checked",
            "Choices of a node that were checked against the next reports of those compared.",
            "",
            accuracy.choices,
        )
        yield _counter(
            "choices_still_best",
            "Those of them where the same node would be chosen again.",
            "",
            accuracy.still_best,
        )
        yield _counter(
            "shadow_wait_seconds",
            "Time that jobs of sampled choices wait, where this rule would have sent them.",
            "rule",
            shadow.wait_seconds,
        )
        yield _counter("shadow_samples", "Choices that were sampled for that.", "", shadow.samples)

    def _times(self, name: str, text: str, of: Histogram) -> HistogramMetricFamily:
        """One histogram of times, without labels."""
        family = _histogram(name, text)
        self._add(family, [], of)
        return family

    def _add(self, family: HistogramMetricFamily, labels: list[str], of: Histogram) -> None:
        """Add a histogram to a family, in fewer buckets than it has."""
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        number = 0
        exemplar: Exemplar | None = None
        shown = iter((*_BOUNDS, inf))
        bound = next(shown)
        for position, (at, count) in enumerate(zip((*of.bounds, inf), of.counts, strict=True)):
            number += count
            if self.with_examples and (example := of.examples[position]) is not None:
                exemplar = Exemplar({"decision": example[0]}, example[1])
                of.examples[position] = None  # a newer one is wanted for the next scrape
            if at == bound:
                name = floatToGoString(bound)
                buckets.append((name, number, exemplar) if exemplar else (name, number))
                exemplar, bound = None, next(shown, inf)
        family.add_metric(labels, buckets, of.total)


class _Decisions:
    """
    The decisions by container, where those of unnamed containers share one number.

    Which containers are named changes with the nodes. So that no number ever falls, decisions count
    for the name that their container had when they were collected first.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        """By container, the decisions collected so far."""
        self._labelled: dict[str, int] = {}
        """By label, the same; those of containers that the fleet does not count apart come on top
        of OTHER."""

    def of(self, decisions: Decisions, named: Iterable[str]) -> dict[str, int]:
        """The decisions by label."""
        names, labelled = {*named}, self._labelled
        for container, count in decisions.by_container.items():
            label = container if container in names else OTHER
            new = count - self._seen.get(container, 0)
            labelled[label] = labelled.get(label, 0) + new
            self._seen[container] = count
        found = {name: labelled[name] for name in names if name in labelled}
        return {**found, OTHER: labelled.get(OTHER, 0) + decisions.of_others}


def _counter(
    name: str, text: str, label: str, values: Mapping[str, float] | float
) -> CounterMetricFamily:
    """Counters by the value of a label, or one counter without a label."""
    return _filled(CounterMetricFamily(_PREFIX + name, text, labels=[label] * bool(label)), values)


def _gauge(
    name: str, text: str, label: str, values: Mapping[str, float] | float
) -> GaugeMetricFamily:
    """The same with gauges."""
    return _filled(GaugeMetricFamily(_PREFIX + name, text, labels=[label] * bool(label)), values)


def _filled(family: Family, values: Mapping[str, float] | float) -> Family:
    if isinstance(values, Mapping):
        for value, number in values.items():
            family.add_metric([value], number)
    else:
        family.add_metric([], values)
    return family


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(_PREFIX + name, text, labels=labels)
