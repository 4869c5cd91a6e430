"""The measurements of a soak test, and the criteria that judge them."""

import signal
from collections.abc import Sequence
from statistics import median

from attrs import define, field, frozen

from benchmarks.soak.flapping import Node
from benchmarks.soak.interrupting import Interruptions
from benchmarks.soak.record import Fault, Record
from benchmarks.soak.vanishing import Clients

MAX_GROWTH = 0.05
"""The share by which memory may grow once it has settled."""
_SETTLED = 120
"""Seconds after which it has: until then a router fills what it keeps of each node, and the gaps
between its objects."""
_SHORTEST = 300
"""Seconds that a run must take to show whether memory has settled."""
_MAX_GROWTH_SHORT = 0.3
"""The share by which it may grow in a shorter run."""


@define
class Measured:
    """The measurements of a run."""

    record: Record
    clients: Clients
    nodes: Sequence[Node]
    interruptions: Interruptions
    before: int
    """Descriptors of the router at rest before the run."""
    after: int = 0
    resident: list[int] = field(factory=list)
    """Memory of the router in bytes, once a second."""
    seconds: float = 0.0
    processor_seconds: float = 0.0
    """CPU time of the router."""
    moves: Sequence[float] = ()
    """For each move of a name, the seconds until the router polled its new host, if it has."""
    errors: Sequence[str] = ()
    """Errors in the router's log."""
    exit_code: int | None = None

    @property
    def requests(self) -> int:
        """Responses received."""
        return len(self.clients.times)

    @property
    def polls(self) -> int:
        """Polls that reached a node; connections that were refused are not counted."""
        return sum(node.polls for node in self.nodes)

    @property
    def windows(self) -> tuple[float, float]:
        """
        Median memory of the router once it has settled and at the end, in bytes; in a short run,
        after the first tenth and at the end.
        """
        length = len(self.resident)
        start = length // 10 if self.is_short else max(length // 10, _SETTLED)
        window = max(1, length // 20)
        return median(self.resident[start : start + window]), median(self.resident[-window:])

    @property
    def is_short(self) -> bool:
        """Whether the run was too short to show whether memory settles."""
        return len(self.resident) < _SHORTEST


@frozen
class Verdict:
    """The result of one criterion."""

    criterion: str
    allowed: str
    measured: str
    good: bool


def verdicts(measured: Measured, least: int, max_growth: float = MAX_GROWTH) -> list[Verdict]:
    """
    The result of every criterion.

    :param least: the minimum number of requests, and of polls.
    :param max_growth: the share by which memory may grow once it has settled.
    """
    counts = {"requests": measured.requests, "polls": measured.polls}
    late, allowed = measured.record.late, measured.record.allowed
    first, last = measured.windows
    short = " (the run is too short to tell more)" if measured.is_short else ""
    max_growth = max(max_growth, _MAX_GROWTH_SHORT) if short else max_growth
    return [
        *(Verdict(what, f"{least:,}", f"{n:,}", n >= least) for what, n in counts.items()),
        *(
            Verdict(
                f"handed out though {fault}",
                f"{allowed[fault]:g} s",
                _spread(late[fault]),
                not measured.record.wrong(fault),
            )
            for fault in Fault
        ),
        Verdict(
            "new host of a moved name polled",
            f"{allowed[Fault.MOVED]:g} s",
            _spread(measured.moves),
            max(measured.moves, default=0.0) <= allowed[Fault.MOVED],
        ),
        Verdict(
            "wrong answers of any kind",
            "0",
            f"{measured.clients.wrong:,}",
            not measured.clients.wrong,
        ),
        Verdict(
            "memory, once settled",
            f"{max_growth:+.0%}",
            f"{first / 1e6:.1f} MB, {last / first - 1:+.1%} at the end{short}",
            last <= first * (1 + max_growth),
        ),
        Verdict(
            "descriptors at rest",
            f"{measured.before}",
            f"{measured.after}",
            measured.after <= measured.before,
        ),
        Verdict("errors logged", "0", f"{len(measured.errors)}", not measured.errors),
        Verdict(
            "exit code, of SIGTERM",
            f"{-signal.SIGTERM}",
            f"{measured.exit_code}",
            measured.exit_code == -signal.SIGTERM,
        ),
    ]


def _spread(seconds: Sequence[float]) -> str:
    """How late addresses were handed out: count, median, 99th percentile and maximum."""
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(part * len(ordered))] for part in (0.5, 0.99))
    return f"{len(ordered):,}: p50 {p50:.2f} s, p99 {p99:.2f} s, max {ordered[-1]:.2f} s"
