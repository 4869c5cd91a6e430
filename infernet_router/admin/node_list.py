"""The list of nodes: finds, sorts and pages them, in slices, however many there are."""

from collections.abc import Callable, Iterator
from heapq import merge
from typing import Any

import msgspec
from attrs import frozen

from infernet_router.addresses import NodeAddress
from infernet_router.admin.shown import Shown, Viewer, state_of
from infernet_router.api.query import BadRequest, Query
from infernet_router.fleet import Fleet, NodeView, Steps
from infernet_router.quoting import quoted

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 1000
_MAX_OFFSET = 1_000_000
_MAX_TEXT = 500
"""The longest text to search for, in characters."""

_STEP = 8
"""Nodes between two points where the work may be interrupted."""

_RUN = 1000
"""Nodes that are sorted without interruption; the sorted runs are then merged."""

_PARAMETERS = frozenset(("state", "container", "q", "sort", "order", "offset", "limit"))

_KEYS: dict[str, Callable[[NodeView], Any]] = {
    "address": lambda view: view.address.text,
    "state": lambda view: state_of(view).value,
    "since": lambda view: view.since,
    "reason": lambda view: view.reason,
    "pending": lambda view: view.pending,
    "jobs": lambda view: view.jobs,
    "rate": lambda view: view.rate,
    "report_age_seconds": lambda view: view.report_age,
    "assigned": lambda view: view.assigned,
    "doubt": lambda view: view.doubt,
    "utilization": lambda view: view.utilization,
    "weight": lambda view: view.weight,
}
"""What each number and text field of a node is sorted by."""


def parse_states(query: Query) -> frozenset[Shown]:
    """
    The states that a query asks for; empty for all.

    :raises BadRequest: when one is not a state.
    """
    try:
        return frozenset(map(Shown, filter(None, query.texts("state"))))
    except ValueError:
        raise BadRequest(f"state must be one of {', '.join(Shown)}") from None


@frozen
class Wanted:
    """Which nodes to list, and in which order."""

    states: frozenset[Shown] = frozenset()
    """A node must be in one of these, if there are any."""
    containers: tuple[str, ...] = ()
    """A node must run all of these."""
    text: str = ""
    """In lower case; found in an address, reason or container."""
    sort: str = "address"
    descending: bool = False
    offset: int = 0
    limit: int = _DEFAULT_LIMIT

    def has(self, view: NodeView) -> bool:
        """Whether to list a node."""
        if self.states and state_of(view) not in self.states:
            return False
        if any(container not in view.containers for container in self.containers):
            return False
        text = self.text
        return (
            not text
            or text in view.address.text.lower()
            or text in view.reason.lower()
            or any(text in container.lower() for container in view.containers)
        )


def parse(query: Query) -> Wanted:
    """
    Which nodes a query asks for.

    :raises BadRequest: when it is not valid.
    """
    if unknown := query.names - _PARAMETERS:
        names = ", ".join(sorted(_PARAMETERS))
        raise BadRequest(f"there is no {quoted(min(unknown))}; the parameters are {names}")
    sort = _text(query, "sort") or "address"
    order = _text(query, "order") or "asc"
    if sort not in _KEYS:
        raise BadRequest(f"sort must be one of {', '.join(sorted(_KEYS))}")
    if order not in ("asc", "desc"):
        raise BadRequest("order must be asc or desc")
    return Wanted(
        states=parse_states(query),
        containers=tuple(filter(None, query.texts("container"))),
        text=(_text(query, "q") or "").lower(),
        sort=sort,
        descending=order == "desc",
        offset=_number(query, "offset", default=0, most=_MAX_OFFSET),
        limit=_number(query, "limit", default=_DEFAULT_LIMIT, most=_MAX_LIMIT),
    )


def _text(query: Query, name: str) -> str | None:
    """The value of a parameter; an empty one counts as absent, since forms send empty fields."""
    return None if query.texts(name) == [""] else query.text(name, longest=_MAX_TEXT)


def _number(query: Query, name: str, *, default: int, most: int) -> int:
    if query.texts(name) == [""]:
        return default
    return query.whole_number(name, default=default, most=most)


def selected(fleet: Fleet, has: Callable[[NodeView], bool]) -> Steps[list[NodeAddress]]:
    """The nodes of a fleet for which this is true."""
    found = []
    for number, view in enumerate(fleet.views()):
        if number % _STEP == 0:
            yield
        if has(view):
            found.append(view.address)
    return found


def listed(fleet: Fleet, viewer: Viewer, wanted: Wanted) -> Steps[bytes]:
    """The nodes that are wanted and how many there are on all pages, as operators get them."""
    key = _KEYS[wanted.sort]
    runs: list[list[tuple[Any, int, NodeAddress]]] = [[]]
    without: list[NodeAddress] = []
    """Nodes without a value to sort by: they come last in either order."""
    total = 0
    for number, view in enumerate(fleet.views()):
        if number % _STEP == 0:
            yield
        if not wanted.has(view):
            continue
        total += 1
        value = key(view)
        if value is None:
            without.append(view.address)
            continue
        if len(runs[-1]) == _RUN:
            runs.append([])
        runs[-1].append((value, number, view.address))
    for run in runs:
        run.sort(reverse=wanted.descending)
        yield
    ordered = merge(*runs, reverse=wanted.descending)
    page: list[NodeAddress] = []
    for position, address in enumerate(_all(ordered, without)):
        if position % _STEP == 0:
            yield
        if position >= wanted.offset + wanted.limit:
            break
        if position >= wanted.offset:
            page.append(address)
    nodes = []
    for position, address in enumerate(page):
        if position % _STEP == 0:
            yield
        if (now := fleet.view(address)) is not None:
            nodes.append(msgspec.Raw(msgspec.json.encode(viewer.node(now))))
    return msgspec.json.encode({"total": total, "nodes": nodes})


def _all(
    ordered: Iterator[tuple[Any, int, NodeAddress]], without: list[NodeAddress]
) -> Iterator[NodeAddress]:
    yield from (address for _, _, address in ordered)
    yield from without
