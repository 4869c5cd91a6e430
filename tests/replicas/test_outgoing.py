"""Tests of infernet_router.replicas.outgoing."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Outcome
from infernet_router.replicas.batches import (
    SPLIT_BYTES,
    Batch,
    Jobs,
    Misses,
    Outcomes,
    Passed,
    decode,
    each_key,
)
from infernet_router.replicas.outgoing import Outgoing
from infernet_router.replicas.shares import Share, key_of
from tests.doubles import report

ME = b"my own 8"


def share_of(number: int) -> Share:
    address = parse_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    return Share(address, key_of(address))


ONE, TWO, THREE = share_of(1), share_of(2), share_of(3)


class OutgoingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.outgoing = Outgoing()

    def take(self, now: float = 10.0) -> Batch:
        """The only batch."""
        (message,) = self.outgoing.take(ME, 4, now, 9)
        return decode(message)

    def test_nothing(self) -> None:
        """A batch without content says only that its sender is there."""
        self.assertIsNone(self.outgoing.since)
        self.assertEqual(self.take(), Batch(ME, 4, 10.0, orders_digest=9))

    def test_jobs(self) -> None:
        """Jobs are summed by node; what one weighs is the average, within limits."""
        for share, weight, count in ((ONE, 1.0, 1), (TWO, 1.0, 2), (ONE, 1.0, 1)):
            self.outgoing.assigned(share, weight, count, 9.5)
        self.assertEqual(self.outgoing.since, 9.5)
        self.assertEqual(self.take().jobs, Jobs(ONE.key + TWO.key, [2, 2], []))
        self.assertEqual(self.take().jobs, Jobs(b"", [], []))
        self.outgoing.assigned(ONE, 1.0, 1, 9.6)
        self.outgoing.assigned(ONE, 4.0, 2, 9.7)
        self.outgoing.assigned(TWO, 0.0, 1, 9.8)
        self.outgoing.assigned(THREE, 5000.0, 2_000_000, 9.8)
        jobs = self.take().jobs
        self.assertEqual(jobs.counts, [3, 1, 1_000_000])
        self.assertEqual(jobs.weights, [3.0, 0.01, 1000.0])

    def test_reports(self) -> None:
        """Reports with the same description share it; of each node, the last is told."""
        for share, at in ((ONE, 9.0), (ONE, 9.9), (TWO, 9.95)):
            self.outgoing.reported(share, report("llm", pending=round(at * 10)), at)
        self.outgoing.reported(THREE, report("prover"), 10.0)
        llm, prover = self.take().reports
        self.assertEqual(each_key(llm.keys), [ONE.key, TWO.key])
        self.assertEqual((llm.ages, llm.pending), ([100, 50], [99, 0, 100, 0]))
        self.assertEqual((llm.kinds, llm.version), (["offchain", "onchain"], "1.4.0"))
        self.assertEqual(llm.containers, list(report("llm").containers))
        self.assertEqual((prover.keys, prover.ages), (THREE.key, [0]))

    def test_misses(self) -> None:
        """Failures are told by reason; what is known last of a node counts."""
        self.outgoing.missed(ONE, "refused", 9.9)
        self.outgoing.missed(TWO, "refused", 9.8)
        self.outgoing.reported(THREE, report("llm"), 9.8)
        self.outgoing.missed(THREE, "x" * 2000, 9.9)
        self.outgoing.missed(TWO, "refused", 9.95)
        self.outgoing.reported(TWO, report("llm"), 9.99)
        batch = self.take()
        self.assertEqual(
            batch.misses,
            [Misses("refused", ONE.key, [100]), Misses("x" * 1000, THREE.key, [100])],
        )
        self.assertEqual([reports.keys for reports in batch.reports], [TWO.key])

    def test_large_description(self) -> None:
        """A node with a large description is named only."""
        self.outgoing.reported(ONE, report("llm", description="x" * 9000), 9.9)
        self.outgoing.reported(TWO, report("llm", description="x" * 8000), 9.9)
        batch = self.take()
        self.assertEqual(batch.unshared, ONE.key)
        self.assertEqual([reports.keys for reports in batch.reports], [TWO.key])

    def test_outcomes(self) -> None:
        """Each kind of outcome of a node is told once in a batch."""
        for share in (ONE, TWO, ONE):
            self.outgoing.told(share, Outcome.FAILED, 9.9)
        self.assertEqual(self.take().outcomes, [Outcomes(Outcome.FAILED, ONE.key + TWO.key)])

    def test_passed(self) -> None:
        """Outcomes are passed on, up to a limit."""
        passed = Passed(b"member 1", "1-2-3-4", Outcome.DONE, b"client")
        for _ in range(300):
            self.outgoing.passed(passed, 9.9)
        self.assertEqual(self.take().passed, [passed] * 200)

    def test_dropped(self) -> None:
        """What was not told can be dropped."""
        self.outgoing.assigned(ONE, 1.0, 1, 5.0)
        self.outgoing.drop()
        self.assertIsNone(self.outgoing.since)
        self.assertEqual(self.take(), Batch(ME, 4, 10.0, orders_digest=9))

    def test_split(self) -> None:
        """More than half a megabyte is told in several batches, in which nothing is missing."""
        shares = [share_of(number) for number in range(30_000)]
        for number, share in enumerate(shares):
            self.outgoing.assigned(share, 1.0 + number % 7, 1 + number, 9.9)
            if number % 3:
                self.outgoing.reported(share, report(f"llm {number % 5}", pending=number), 9.9)
            else:
                self.outgoing.missed(share, f"reason {number % 4}", 9.9)
        messages = self.outgoing.take(ME, 4, 10.0, 9)
        self.assertGreater(len(messages), 1)
        self.assertLess(max(map(len, messages)), SPLIT_BYTES + 1)
        batches = [decode(message) for message in messages]
        self.assertEqual([batch.number for batch in batches], list(range(4, 4 + len(batches))))
        counts = dict[bytes, int]()
        weights = dict[bytes, float]()
        pending = dict[bytes, int]()
        missed = set[bytes]()
        for batch in batches:
            keys = each_key(batch.jobs.keys)
            counts.update(zip(keys, batch.jobs.counts, strict=True))
            weights.update(zip(keys, batch.jobs.weights, strict=True))
            for reports in batch.reports:
                pending.update(zip(each_key(reports.keys), reports.pending[::2], strict=True))
            for misses in batch.misses:
                missed.update(each_key(misses.keys))
        numbers = {share.key: number for number, share in enumerate(shares)}
        self.assertEqual(counts, {key: 1 + number for key, number in numbers.items()})
        self.assertEqual(weights, {key: 1.0 + number % 7 for key, number in numbers.items()})
        self.assertEqual(pending, {key: number for key, number in numbers.items() if number % 3})
        self.assertEqual(missed, {key for key, number in numbers.items() if not number % 3})

    def test_split_group(self) -> None:
        """A single description, or reason, of very many nodes is split between these."""
        shares = [share_of(number) for number in range(50_000)]
        for share in shares:
            self.outgoing.reported(share, report("llm", pending=300), 1.0)
        told = [decode(message) for message in self.outgoing.take(ME, 4, 10.0, 9)]
        for share in shares:
            self.outgoing.missed(share, "refused", 1.0)
        told += [decode(message) for message in self.outgoing.take(ME, 4, 10.0, 9)]
        self.assertEqual(len(told), 4)
        for groups in ([b.reports for b in told], [b.misses for b in told]):
            keys = [key for each in groups for group in each for key in each_key(group.keys)]
            self.assertEqual(sorted(keys), sorted(share.key for share in shares))
        self.assertEqual({n for batch in told for r in batch.reports for n in r.pending}, {0, 300})

    def test_split_groups(self) -> None:
        """Many different descriptions are split between them; a single one is not split."""
        for number in range(200):
            text = f"{number} " + "x" * 7000
            self.outgoing.reported(share_of(number), report("llm", description=text), 9.9)
        batches = [decode(message) for message in self.outgoing.take(ME, 4, 10.0, 9)]
        keys = [key for batch in batches for group in batch.reports for key in each_key(group.keys)]
        self.assertEqual(sorted(keys), sorted(share_of(number).key for number in range(200)))

    def test_split_the_rest(self) -> None:
        """Outcomes, and nodes whose description is too large, are split too."""
        shares = [share_of(number) for number in range(70_000)]
        for share in shares:
            self.outgoing.told(share, Outcome.FAILED, 9.9)
            self.outgoing.reported(share, report("llm", description="x" * 9000), 9.9)
        batches = [decode(message) for message in self.outgoing.take(ME, 4, 10.0, 9)]
        expected = sorted(share.key for share in shares)
        told = [o.keys for batch in batches for o in batch.outcomes]
        for keys in told, [batch.unshared for batch in batches]:
            self.assertEqual(sorted(each_key(b"".join(keys))), expected)
