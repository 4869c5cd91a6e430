"""Descriptors: how many connections the process may have, and how many of them for what."""

import contextlib
import resource

from attrs import frozen
from twisted.logger import Logger

_OTHERS = 256
"""Descriptors for all else: files, listening, name look-ups in 200 threads, questions to DNS."""

_QUESTIONS = 130
"""Connections to nodes for what else they are asked: 64 for resources, 64 for models, and more."""

_MOST_POLLS = 1000
"""Nodes asked for a report at the same time, at most: one that hangs is for a whole time-out."""

_MOST_KEPT = 300
"""Idle connections to nodes, at most. Each saves a new one, but is gone over in each collection of
garbage: with 1000 of them, fewer requests are answered than with none."""

_MOST_CLIENTS = 10_000
"""Connections of clients, at most; each takes about 10 KiB."""

log = Logger()


@frozen
class Limits:
    """How many connections there may be."""

    polls: int
    """Nodes that are asked for a report at the same time."""
    kept: int
    """Connections to nodes that are kept for the next poll."""
    clients: int
    """Connections of clients."""

    @property
    def nodes(self) -> int:
        """Connections to nodes."""
        return self.polls + self.kept + _QUESTIONS


def limits_of(descriptors: int) -> Limits:
    """
    Share descriptors out, so that neither nodes nor clients can take those of the other.

    Where there are few, nodes get half of those that are for connections.
    """
    connections = descriptors - min(_OTHERS, descriptors // 4)
    for_polls = max(connections // 2 - _QUESTIONS, 2)
    polls = min(_MOST_POLLS, for_polls // 2)
    kept = min(_MOST_KEPT, for_polls - polls)
    clients = min(_MOST_CLIENTS, max(connections - polls - kept - _QUESTIONS, 1))
    return Limits(polls, kept, clients)


def raise_limit() -> Limits:
    """Let the process have as many descriptors as it may, and say in the log what they come to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems forbid what they say is allowed
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = limits_of(raised)
    log.info(
        "{raised} descriptors{before}: at most {clients} connections of clients, {nodes} to nodes",
        raised=raised,
        before=f", raised from {soft}" if raised != soft else "",
        clients=limits.clients,
        nodes=limits.nodes,
    )
    return limits
