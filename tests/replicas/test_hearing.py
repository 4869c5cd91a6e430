"""Tests of infernet_router.replicas.hearing."""

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Outcome
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.batches import (
    BadBatch,
    Batch,
    Jobs,
    Misses,
    Outcomes,
    Reports,
    encode,
)
from infernet_router.replicas.hearing import Hearing
from infernet_router.replicas.shares import Share, Shares, key_of
from infernet_router.reports import Container, NodeReport
from tests.doubles import report

ME, ONE = 1, int.from_bytes(b"member 1", "big")
A, B = parse_address("192.0.2.1:4000"), parse_address("192.0.2.2:4000")
KEY_A, KEY_B, UNKNOWN = key_of(A), key_of(B), b"no node!"


class Polls:
    """A poller that remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def reported_elsewhere(self, share: Share, member: int, report: NodeReport, at: float) -> None:
        self.heard.append((share.address, member, report, round(at, 6)))

    def missed_elsewhere(self, share: Share, member: int, reason: str, at: float) -> None:
        if reason == "break":
            raise ZeroDivisionError
        self.heard.append((share.address, member, reason, round(at, 6)))

    def unshared(self, share: Share) -> None:
        self.heard.append((share.address,))

    def members_changed(self) -> None:
        raise NotImplementedError


class HearingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.time = 0.0
        self.pace = 0.0
        """What a look at the time adds to it, in seconds."""
        self.fleet = SharedFleet(self.seconds, Random(1))
        self.fleet.replace([A, B])
        shares = self.shares = Shares(ME)
        for address in (A, B):
            self.fleet.observed(address, report("llm"))
            shares.add(address)
        self.refused: list[BadBatch] = []
        self.finished: list[Batch] = []
        self.hearing = Hearing(
            self.fleet, shares, self.clock, self.refused.append, self.finished.append
        )
        self.polls = self.hearing.polls = Polls()

    def seconds(self) -> float:
        self.time += self.pace
        return self.time

    def hear(self, sent: float = 0.0, **parts: Any) -> Batch:
        """Hear a batch with these parts."""
        batch = Batch(b"member 1", 1, 5.0, **parts)
        self.assertTrue(self.hearing.hear(encode(batch), sent))
        return batch

    def test_jobs(self) -> None:
        """Jobs of others are assigned; a node that is not known here is passed over."""
        batch = self.hear(jobs=Jobs(KEY_A + UNKNOWN + KEY_B, [3, 1, 2], [1.0, 1.0, 2.5]))
        views = [self.fleet.view(address) for address in (A, B)]
        self.assertEqual([view and view.assigned for view in views], [3.0, 5.0])
        self.assertEqual(self.finished, [batch])
        self.hear(jobs=Jobs(KEY_A, [1], []))
        view = self.fleet.view(A)
        self.assertEqual(view and view.assigned, 4.0)

    def test_followed(self) -> None:
        """Only jobs for nodes that this router polls hurry its poller."""
        cursor = self.fleet.follow_assignments()
        share = self.shares.of(B)
        assert share is not None
        share.is_mine = True
        self.hear(jobs=Jobs(KEY_A + KEY_B, [1, 2], []))
        self.assertEqual(cursor.read(), [B])

    def test_reports(self) -> None:
        """The poller hears of reports: whose, what was reported, and when."""
        llm = [Container("llm", external=True)]
        keys, pending = KEY_B + UNKNOWN + KEY_A, [1, 2, 3, 4, 5, 6]
        reports = Reports(llm, "1.4.0", ["offchain", "onchain"], keys, [0, 10, 200], pending)
        self.hear(7.0, reports=[reports, Reports([], "", [], KEY_A, [0], [])])
        containers = tuple(llm)
        self.assertEqual(
            self.polls.heard,
            [
                (B, ONE, NodeReport(containers, {"offchain": 1, "onchain": 2}, "1.4.0"), 7.0),
                (A, ONE, NodeReport(containers, {"offchain": 5, "onchain": 6}, "1.4.0"), 6.8),
                (A, ONE, NodeReport((), {}, ""), 7.0),
            ],
        )

    def test_others(self) -> None:
        """The poller hears of failures and of nodes to poll itself, the fleet of outcomes."""
        self.hear(
            7.0,
            misses=[Misses("refused", KEY_A + UNKNOWN, [500, 0])],
            unshared=UNKNOWN + KEY_B,
            outcomes=[Outcomes(Outcome.FAILED, UNKNOWN + KEY_A)],
        )
        self.assertEqual(self.polls.heard, [(A, ONE, "refused", 6.5), (B,)])
        views = [self.fleet.view(address) for address in (A, B)]
        self.assertEqual([view and view.doubt > 0 for view in views], [True, False])

    def test_malformed(self) -> None:
        """A batch whose content is malformed is refused as a whole; the next is heard."""
        broken = encode(Batch(b"member 1", 1, 5.0, jobs=Jobs(KEY_A, [1, 1], [])))
        self.hearing.hear(broken, 0.0)
        self.assertEqual(len(self.refused), 1)
        self.hear(jobs=Jobs(KEY_A, [1], []))
        self.assertEqual(len(self.finished), 1)

    def test_breaks(self) -> None:
        """An error of our own is logged, and does not keep the next batch from being heard."""
        self.hear(misses=[Misses("break", KEY_A, [0])])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.hear(jobs=Jobs(KEY_A, [1], []))
        self.assertEqual(len(self.finished), 1)

    def test_slices(self) -> None:
        """A large batch is heard in several turns of the reactor, and those after it in order."""
        self.pace = 0.001
        first = self.hear(jobs=Jobs(KEY_A * 10, [1] * 10, []))
        self.pace = 0.0
        second = self.hear(jobs=Jobs(KEY_B, [1], []))
        self.assertEqual(self.finished, [])
        self.pace = 0.001
        self.clock.advance(0)
        self.assertEqual(self.finished, [first, second])

    def test_bounded(self) -> None:
        """When more than 4 MiB wait, what comes then is dropped; the rest is heard later."""
        self.pace = 1.0
        self.hear(jobs=Jobs(KEY_A * 2, [1, 1], []))
        large = encode(Batch(b"member 1", 1, 5.0, jobs=Jobs(UNKNOWN * 100_000, [1] * 100_000, [])))
        taken = 0
        while self.hearing.hear(large, 0.0):
            taken += 1
        self.assertEqual(taken, (4 << 20) // len(large) + 1)
        self.pace = 0.0
        self.clock.advance(0)
        self.assertEqual(len(self.finished), taken + 1)
        self.hear()
        self.assertEqual(len(self.finished), taken + 2)
