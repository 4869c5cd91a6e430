"""
Doubt: whether a node fails every job at once, judged by evidence that the node cannot bend.

A container that crashed stays in its node's reports, and its jobs fail at once. So the queue of the
node is always empty, and to a router that looks at queues it is the best node of all. What gives it
away is that it is never seen at work. When a report should show a job with the chance p and shows
none, this is 1 / (1 - p) times as likely of a failing node as of a healthy one. The logarithms of
these ratios add up (Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical
Statistics 16(2), 1945). One report that shows jobs sets the sum to zero: a failing node has none to
show.

A doubted node gets single jobs, each after three times as long a wait as the last, and is polled
soon after each, when the job should be there to be seen. A node that merely became faster is seen
at work sooner or later, and from then on it takes more evidence to doubt it.
"""

from math import log

import msgspec

_ENOUGH = 3.0
"""The evidence at which a node is doubted: it is then e^3, or 20, times as likely to be failing."""

_CAP = 1.0
"""The most evidence in one report. Estimates may be wrong, so it takes at least three reports."""

_SURE = 0.9
"""The highest chance of seeing a job: some jobs are never submitted, or late."""

_FIRST_RETRY = 3.0
"""Seconds until a newly doubted node gets another job; three times as long each time after that."""

_LONGEST_RETRY = 300.0

_MAX_FALSE_ALARMS = 3
"""The most false alarms of a node that count. Each makes the next doubt take as much more
evidence as the first."""

_FACTOR = 1000.0
"""What the cost of a doubted node is multiplied by: more than the queue of any other node."""

_LOOK = (1.2,)
"""Seconds after a job was assigned at which to poll a node, when there is some evidence."""

_LOOKS = (0.1, 0.4, 1.2)
"""The same for a doubted node: a job may take a tenth of the usual time, or come late."""

_SOME = 0.3
"""How much evidence that is."""

_FAILED = 1.0
"""The evidence in a client's word that its job failed: that of one report."""

_CRASHED = 2.5
"""The evidence in a container that ceased to say what resources it has: nearly enough."""


class Doubt(msgspec.Struct, gc=False):
    """The evidence that one node fails its jobs."""

    evidence: float = 0.0
    """The logarithm of how many times likelier its reports are if it fails every job."""
    wait: float = 0.0
    """Seconds from one job to the next while it is doubted; 0 while it is not."""
    retry_at: float = 0.0
    """When it gets the next job, while it is doubted."""
    is_tried: bool = False
    """Whether that time has come, and the job is not assigned yet."""
    false_alarms: int = 0
    """How often it was doubted and then seen at work."""
    failures: int = 0
    """How many clients said that their jobs failed, since it was last seen at work."""
    crashes: int = 0
    """How often a container ceased to say what resources it has, since then."""

    @property
    def share(self) -> float:
        """The evidence, as a multiple of what it takes to doubt the node."""
        return self.evidence / (_ENOUGH * (1 + self.false_alarms))

    @property
    def factor(self) -> float:
        """What the node's cost is multiplied by."""
        return _FACTOR if self.wait and not self.is_tried else 1.0

    @property
    def words(self) -> str:
        """What the evidence consists of."""
        unseen = self.evidence - self.failures * _FAILED - self.crashes * _CRASHED
        parts = []
        if unseen > 0.01:
            parts.append("its reports do not show the jobs that it was sent")
        if self.failures:
            parts.append(f"clients reported {self.failures} failed jobs")
        if self.crashes:
            parts.append(f"containers stopped to report resources {self.crashes} times")
        return ", ".join(parts)

    @property
    def looks(self) -> tuple[float, ...]:
        """Seconds after a job was assigned to the node at which a report would tell most."""
        if self.wait:
            return _LOOKS
        return _LOOK if self.evidence > _SOME else ()

    def seen_at_work(self) -> None:
        """The node works on jobs: drop all evidence."""
        if self.wait:
            self.false_alarms = min(self.false_alarms + 1, _MAX_FALSE_ALARMS)
        self.evidence = self.wait = 0.0
        self.is_tried = False
        self.failures = self.crashes = 0

    def unseen(self, chance: float, at: float) -> None:
        """A report at `at` does not show the node at work, though there was this chance of it."""
        self._add(min(_CAP, -log(1.0 - _SURE * chance)), at)
        if self.wait and at >= self.retry_at:
            self.is_tried = True

    def failed(self, at: float) -> None:
        """A client said that its job failed."""
        self.failures += 1
        self._add(_FAILED, at)

    def crashed(self, at: float) -> None:
        """A container ceased to say what resources it has."""
        self.crashes += 1
        self._add(_CRASHED, at)

    def _add(self, evidence: float, at: float) -> None:
        """Add evidence that came at `at`."""
        self.evidence += evidence
        if not self.wait and self.share >= 1.0:
            self.wait, self.retry_at = _FIRST_RETRY, at + _FIRST_RETRY

    def assigned(self, now: float) -> bool:
        """A job is assigned to the node. Returns whether that changes its factor."""
        if not self.is_tried:
            return False
        self.is_tried = False
        self.wait = min(3.0 * self.wait, _LONGEST_RETRY)
        self.retry_at = now + self.wait
        return True
