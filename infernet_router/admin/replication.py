"""Replication: what operators see of the routers that share the fleet."""

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from infernet_router.addresses import NodeAddress

_PREFIX = "infernet_router_replicas_"

_RESULTS = ("sent", "failed", "heard", "late", "lost", "dropped", "malformed")
"""What becomes of batches: of those of this router, and of those of others."""


class Replication(Protocol):
    """What shares the fleet with other routers."""

    @property
    def members(self) -> int:
        """How many routers share the fleet, this one included; 1 while it is alone."""

    @property
    def is_alone(self) -> bool:
        """Whether this router polls all nodes, as it cannot know who hears it."""

    @property
    def why_alone(self) -> str:
        """Why it is alone, if it is."""

    @property
    def echo(self) -> float | None:
        """The seconds that a batch took to Redis and back; None while that is unknown."""

    def order_known_at(self, address: NodeAddress) -> float | None:
        """
        Since when all routers are known to follow the order for an address, on the fleet's clock.

        None while that is not certain.
        """

    @property
    def batches(self) -> Counter[str]:
        """How many batches there were, by result."""


def replication_metrics(replication: Replication) -> Iterator[Metric]:
    """The metrics of the replicas."""
    members = "Routers that share the fleet, this one included."
    yield GaugeMetricFamily(_PREFIX + "members", members, replication.members)
    alone = "1 while this router cannot share the fleet, and polls all nodes."
    yield GaugeMetricFamily(_PREFIX + "alone", alone, float(replication.is_alone))
    if replication.echo is not None:
        echo = "Time from sending the last batch to hearing it."
        yield GaugeMetricFamily(_PREFIX + "echo_seconds", echo, replication.echo)
    batches = CounterMetricFamily(
        _PREFIX + "batches", "Batches sent to other routers, and heard of them.", labels=["result"]
    )
    for result in _RESULTS:
        batches.add_metric([result], replication.batches[result])
    yield batches
