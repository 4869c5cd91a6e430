"""Raises the descriptor limit, and divides the descriptors between clients and nodes."""

import contextlib
import resource

from attrs import frozen
from twisted.logger import Logger

_MOST_POLLS = 1000
"""The most concurrent polls. A node that hangs takes one for the whole timeout."""

_MOST_KEPT = 2500
"""The most idle connections to nodes: more nodes than that are not polled often enough to keep a
connection, at 500 polls a second. Each saves half of the cost of a poll, and takes 2 KiB."""

_MOST_CLIENTS = 10_000
"""The most connections of clients; each takes about 10 KiB."""

_RESOURCES = 64
_SURVEYS = 64
"""The most of each. When descriptors are few, each gets an eighth of those for connections."""

_LOOKUPS = 200
"""Many, as a dead name server blocks a thread for seconds."""

_OPERATORS = 64
"""Connections of operators and of programs that read metrics, on each of their endpoints."""

_MORE = 2
"""Connections for other requests, such as to the Node Explorer."""

_OTHERS = _LOOKUPS + 2 * _OPERATORS + 56
"""Descriptors for everything else: host name lookups, DNS queries, files, listening sockets."""

_ENOUGH = 1024
"""Descriptors from which there is no warning: what most systems allow by default."""

log = Logger()


@frozen
class Limits:
    """How many connections and lookups there may be at the same time, by purpose."""

    polls: int
    """Nodes being polled."""
    kept: int
    """Idle connections kept for the next poll."""
    clients: int
    """Connections of clients."""
    resources: int
    """Nodes being asked for their resources."""
    surveys: int
    """Nodes being asked about a model."""
    lookups: int
    """Host names being looked up."""
    operators: int = _OPERATORS
    """Connections to each endpoint for operators."""

    @property
    def nodes(self) -> int:
        """All connections to nodes."""
        return self.polls + self.kept + self.resources + self.surveys + _MORE


def limits_of(descriptors: int) -> Limits:
    """
    Divide descriptors, so that neither nodes nor clients can use up those of the other.

    When there are few, nodes get half of the descriptors that are for connections.
    """
    others = min(_OTHERS, descriptors // 4)
    connections = descriptors - others
    resources, surveys = (max(min(most, connections // 8), 1) for most in (_RESOURCES, _SURVEYS))
    requests = resources + surveys + _MORE
    for_polls = max(connections // 2 - requests, 2)
    polls = min(_MOST_POLLS, for_polls // 2)
    kept = min(_MOST_KEPT, for_polls - polls)
    return Limits(
        polls=polls,
        kept=kept,
        clients=min(_MOST_CLIENTS, max(connections - polls - kept - requests, 1)),
        resources=resources,
        surveys=surveys,
        lookups=max(others - (_OTHERS - _LOOKUPS), 4),
    )


def raise_limit() -> Limits:
    """Raise the process's descriptor limit as far as allowed, and log the resulting limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems refuse their own hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = limits_of(raised)
    log.info(
        "{raised} descriptors{before}: at most {clients} connections of clients, {nodes} to nodes",
        event="descriptors.limit",
        raised=raised,
        before=f", raised from {soft}" if raised != soft else "",
        clients=limits.clients,
        nodes=limits.nodes,
    )
    if raised < _ENOUGH:
        log.warn(
            "{raised} descriptors are few: clients have {clients} connections at most, and {polls}"
            " nodes are polled at the same time; allow {enough} or more (ulimit -n, LimitNOFILE= in"
            " systemd, --ulimit nofile= in Docker)",
            event="descriptors.few",
            raised=raised,
            clients=limits.clients,
            polls=limits.polls,
            enough=_ENOUGH,
        )
    return limits
