"""Tests of infernet_router.replicas.batches."""

from math import inf, nan
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Outcome
from infernet_router.replicas.batches import (
    MAX_BYTES,
    BadBatch,
    Batch,
    Head,
    Jobs,
    Misses,
    Outcomes,
    Passed,
    Reports,
    decode,
    decode_head,
    each_key,
    encode,
    size_of,
)
from infernet_router.reports import Container

ONE, TWO = b"node one", b"node two"
LLM = Container("llm", external=True, description="a model")

BATCH = Batch(
    b"sender 1",
    7,
    1234.5,
    orders_digest=3,
    jobs=Jobs(ONE + TWO, [1, 20], [1.0, 2.5]),
    reports=[Reports([LLM], "1.4.0", ["offchain", "onchain"], ONE + TWO, [0, 30], [1, 0, 0, 9])],
    misses=[Misses("connection refused", ONE, [5])],
    unshared=TWO,
    outcomes=[Outcomes(Outcome.FAILED, ONE)],
    passed=[Passed(b"sender 2", "1-2-3-4", Outcome.DONE, b"client")],
)


class BatchTests(SynchronousTestCase):
    def refused(self, message: bytes) -> str:
        """Why a message is refused."""
        with self.assertRaises(BadBatch) as caught:
            decode_head(message)
            decode(message)
        return str(caught.exception)

    def test_encoded(self) -> None:
        """A batch is read as it was written; its head can be read alone."""
        message = encode(BATCH)
        self.assertEqual(decode(message), BATCH)
        self.assertEqual(decode_head(message), Head(b"sender 1", 7, 1234.5))
        self.assertEqual(decode(encode(Batch(b"sender 1", 0, 0.0, bye=True))).bye, True)

    def test_small(self) -> None:
        """A job takes 9 bytes, a report of a known kind 12."""
        some = Batch(b"sender 1", 1, 1.0, jobs=Jobs(ONE * 100, [1] * 100, []))
        more = Batch(b"sender 1", 1, 1.0, jobs=Jobs(ONE * 200, [1] * 200, []))
        self.assertEqual(len(encode(more)) - len(encode(some)), 900)
        reports = BATCH.reports[0]
        one = replace(reports, keys=ONE * 100, ages=[20] * 100, pending=[1, 0] * 100)
        two = replace(reports, keys=ONE * 200, ages=[20] * 200, pending=[1, 0] * 200)
        sizes = [len(encode(replace(BATCH, reports=[each]))) for each in (one, two)]
        self.assertLess(sizes[1] - sizes[0], 1200)

    def test_limits(self) -> None:
        """Numbers have limits, and parts that belong together have the same length."""
        jobs, reports, misses = BATCH.jobs, BATCH.reports[0], BATCH.misses[0]
        bad: list[dict[str, Any]] = [
            {"sent": nan},
            {"sent": inf},
            {"number": -1},
            {"sender": b"short"},
            {"orders_digest": -1},
            {"jobs": replace(jobs, counts=[0, 1])},
            {"jobs": replace(jobs, counts=[1, 1_000_001])},
            {"jobs": replace(jobs, counts=[1])},
            {"jobs": replace(jobs, keys=ONE + b"half")},
            {"jobs": replace(jobs, weights=[1.0])},
            *({"jobs": replace(jobs, weights=[1.0, w])} for w in (nan, inf, 0.0, -1.0, 1000.1)),
            {"reports": [replace(reports, ages=[1])]},
            {"reports": [replace(reports, ages=[1, 60_001])]},
            {"reports": [replace(reports, pending=[1, 2, 3])]},
            {"reports": [replace(reports, pending=[1, 2, 3, -1])]},
            {"reports": [replace(reports, kinds=["x"] * 17, pending=[0] * 34)]},
            {"reports": [replace(reports, containers=[LLM] * 1001)]},
            {"misses": [replace(misses, keys=ONE + TWO)]},
            {"misses": [replace(misses, reason="x" * 1001)]},
            {"unshared": b"1234567"},
            {"outcomes": [Outcomes(Outcome.DONE, b"1234567")]},
            {"passed": [replace(BATCH.passed[0], decision="x" * 101)]},
            {"passed": [replace(BATCH.passed[0], client=b"x" * 17)]},
        ]
        for changes in bad:
            self.assertTrue(self.refused(encode(replace(BATCH, **changes))), changes)

    def test_garbage(self) -> None:
        """What is no batch is refused with a reason, whatever it is."""
        deep = b"\x91" * 100_000
        for message in (
            b"",
            b"x",
            b"\x00",
            b"\xc1",
            deep,
            b"\xdd\xff\xff\xff\xff",
            b"\x93\xc4\x08",
        ):
            self.assertTrue(self.refused(message))
        head = msgspec.msgpack.encode([b"sender 1", 1, 1.0])
        nested = head[:1].replace(b"\x93", b"\x96") + head[1:] + b"\x00\xc2" + deep
        self.assertTrue(self.refused(nested))
        self.assertEqual(self.refused(b"x" * (MAX_BYTES + 1)), "it has more than 1 MiB")
        self.assertIn("UTF-8", self.refused(encode(BATCH).replace(b"a model", b"a \xff\xffdel")))

    def test_damaged(self) -> None:
        """A batch with damaged bytes is read or refused, and nothing else."""
        random, message = Random(1), encode(BATCH)
        for _ in range(3000):
            damaged = bytearray(message)
            for _ in range(random.randint(1, 4)):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
            cut = bytes(damaged[: random.randint(1, len(damaged))])
            try:
                decode_head(cut)
                decode(cut)
            except BadBatch:
                pass

    def test_keys(self) -> None:
        """Keys follow one another."""
        self.assertEqual(each_key(ONE + TWO), [ONE, TWO])

    def test_size(self) -> None:
        """The size of a description is that of all its texts, at least."""
        self.assertGreater(size_of((LLM, LLM)), 2 * len("llm" + "a model"))
