"""Metrics of single nodes, for whoever asks: a line for each, made while it is sent."""

from collections.abc import Callable, Collection, Iterator

from infernet_router.addresses import NodeAddress
from infernet_router.admin.shown import Shown, state_of
from infernet_router.fleet import Fleet, NodeView

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_FAMILIES: tuple[tuple[str, str, Callable[[NodeView], float | None]], ...] = (
    (
        "up",
        "1 while the node is up or suspect.",
        lambda view: float(state_of(view) not in (Shown.DOWN, Shown.UNKNOWN)),
    ),
    ("jobs", "Estimated jobs there now.", lambda view: view.jobs),
    ("pending_jobs", "Pending jobs in its last report.", lambda view: view.pending),
    ("rate_jobs_per_second", "Jobs a second that it finishes while busy.", lambda view: view.rate),
    ("report_age_seconds", "Age of its last report.", lambda view: view.report_age),
    ("doubt", "Evidence that it fails its jobs, 1 or more while doubted.", lambda v: v.doubt),
    ("weight", "Weight set by an operator.", lambda view: view.weight),
)


def lines(fleet: Fleet, addresses: Collection[NodeAddress]) -> Iterator[bytes]:
    """The metrics of these nodes, in Prometheus' text format; nodes that are gone are left out."""
    for name, text, value_of in _FAMILIES:
        family = f"infernet_router_node_{name}"
        yield f"# HELP {family} {text}\n# TYPE {family} gauge\n".encode()
        for address in addresses:
            view = fleet.view(address)
            value = None if view is None else value_of(view)
            if value is not None:
                # An address has no character that would have to be escaped.
                yield f'{family}{{node="{address.text}"}} {float(value)!r}\n'.encode()
