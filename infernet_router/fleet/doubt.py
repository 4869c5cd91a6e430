"""
Doubt: whether a node fails every job at once, judged by evidence that the node cannot bend.

A container that crashed stays in its node's reports, its jobs fail at once, and so the queue of the
node is always empty: to a router that looks at queues it is the best node of all. What gives it away
is that it is never seen at work. When a report should show a job with the chance p and shows none,
that is 1 / (1 - p) times as likely of a node that fails as of a healthy one. The logarithms of these
ratios add up (Wald, "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics
16(2), 1945), and one report that shows a job ends it all, as Page's test does when the sum returns to
zero ("Continuous inspection schemes", Biometrika 41, 1954): a node that fails has nothing to show.

A doubted node gets no job while another candidate has time, but a single one now and then, each time
after three times as long a wait. It is polled soon after that, when the job should be there to be seen. A
node that merely became faster is seen so, sooner or later, and is doubted less easily from then on.
"""

from math import inf, log

import msgspec

_ENOUGH = 3.0
"""The sum at which a node is doubted: e^3, so that one healthy node in 20 would get so far."""

_CAP = 1.0
"""The most that one report adds: estimates may be wrong, so it takes at least three reports."""

_SURE = 0.9
"""The highest chance of seeing a job that is believed: some jobs never come, or come late."""

_FIRST_RETRY = 3.0
"""Seconds until a node that is newly doubted gets another job; three times as long each time after."""

_LONGEST_RETRY = 300.0

_FALSE_ALARMS = 3
"""False alarms of a node that count: each makes the next doubt take as much evidence again."""

_FACTOR = 1000.0
"""On the cost of a doubted node: more than any queue of another that is not."""

LOOK = (0.2,)
"""Seconds after a job was handed to a node that there is some evidence against, to poll it."""

LOOKS = (0.1, 0.4, 1.2)
"""The same for a doubted node: jobs may take a tenth as long as before, or come late."""

_SUSPICIOUS = 0.3
"""The evidence from which on a node is looked at."""

FAILED = 1.0
"""The evidence of a client's word that its job failed: as much as of one report."""


class Doubt(msgspec.Struct, gc=False):
    """The evidence against one node."""

    evidence: float = 0.0
    """The logarithm of how much likelier its reports are if it fails every job."""
    wait: float = 0.0
    """While it is doubted: seconds from one job to the next."""
    retry_at: float = inf
    """While it is doubted: when it gets the next job."""
    is_tried: bool = False
    """Whether it is time for the next job, which was not handed out yet."""
    false_alarms: int = 0
    """How often it was doubted and then seen at work."""

    @property
    def share(self) -> float:
        """The evidence as a share of what it takes to doubt the node."""
        return self.evidence / (_ENOUGH * (1 + self.false_alarms))

    @property
    def factor(self) -> float:
        """The factor on the cost of the node."""
        return _FACTOR if self.wait and not self.is_tried else 1.0

    @property
    def looks(self) -> tuple[float, ...]:
        """Seconds after a job was handed to the node, at which a report says most."""
        if self.wait:
            return LOOKS
        return LOOK if self.evidence > _SUSPICIOUS else ()

    def seen_at_work(self) -> None:
        """The node does jobs: all evidence against it is void."""
        if self.wait:
            self.false_alarms = min(self.false_alarms + 1, _FALSE_ALARMS)
        self.evidence = self.wait = 0.0
        self.is_tried = False

    def seen_idle(self, chance: float, at: float) -> None:
        """A report at `at` shows no job, though there was this chance of one."""
        self.accuse(min(_CAP, -log(1.0 - _SURE * chance)), at)
        if self.wait and at >= self.retry_at:
            self.is_tried = True

    def accuse(self, evidence: float, at: float) -> None:
        """Add evidence that the node fails its jobs."""
        self.evidence += evidence
        if not self.wait and self.share >= 1.0:
            self.wait, self.retry_at = _FIRST_RETRY, at + _FIRST_RETRY

    def tried(self, now: float) -> bool:
        """A job is handed to the node; returns whether that was the one it was given to try."""
        was_tried = self.is_tried
        if was_tried:
            self.is_tried = False
            self.wait = min(3.0 * self.wait, _LONGEST_RETRY)
            self.retry_at = now + self.wait
        return was_tried
