"""Tests of infernet_router.api.decisions."""

import re
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.api.decisions import MAX_ID, VALID, Decisions
from infernet_router.serving.errors import HTTPError

A, B = parse_address("192.0.2.1:4000"), parse_address("https://node.invalid")


class DecisionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.9)
        self.decisions = Decisions(self.clock.seconds, b"secret")
        self.count = 0

    def made(self, address: NodeAddress = A) -> str:
        """The id of a decision that chose this node."""
        self.count += 1
        return self.decisions.made(address, self.count, self.clock.seconds()).decode()

    def assert_refused(self, status: int, error: str, *ids: str) -> None:
        for id in ids:
            with self.assertRaises(HTTPError, msg=id) as caught:
                self.decisions.use(id)
            self.assertEqual((caught.exception.status, str(caught.exception)), (status, error), id)

    def assert_unknown(self, *ids: str) -> None:
        self.assert_refused(404, "the decision is unknown or older than 10 minutes", *ids)

    def test_node(self) -> None:
        """An id shows which node was chosen, and fits into a URL without escapes."""
        ids = [(self.made(address), address) for address in (A, B, A, B, B)]
        Random(1).shuffle(ids)
        for id, address in ids:
            self.assertEqual(self.decisions.use(id), address)
            self.assertRegex(id, "^[0-9a-z-]+$")
            self.assertLess(len(id), MAX_ID)

    def test_once(self) -> None:
        """Each id can be used once, whatever others were used before."""
        ids = [self.made() for _ in range(100)]
        self.assertEqual(len(set(ids)), 100)
        Random(1).shuffle(ids)
        for id in ids:
            self.decisions.use(id)
        self.assert_refused(409, "the decision has an outcome already", *ids)

    def test_made_up(self) -> None:
        """An id that was changed, made up, or made by another process is unknown."""
        id = self.made()
        self.assert_unknown(
            *("", "-", "0-0-0-", "\ud7ff", "ä-ö", "-" * MAX_ID, id.upper(), id[:-1], f"0{id}"),
            *(re.sub(r"^1", "2", id), id.replace("-", "_"), f"{id} ", f"-{id}", id[::-1]),
            Decisions(self.clock.seconds, b"another secret").made(A, 1, 1001.0).decode(),
        )
        self.assertEqual(self.decisions.use(id), A)

    def test_router(self) -> None:
        """Where routers share a fleet, an id begins with the one that made the decision."""
        one, other = "0123456789abcdef", "fedcba9876543210"
        self.decisions = Decisions(self.clock.seconds, b"secret", one)
        elsewhere = (
            Decisions(self.clock.seconds, b"other secret", other).made(A, 1, 1001.0).decode()
        )
        id = self.made()
        self.assertTrue(id.startswith(f"{one}-"))
        self.assertLess(len(id), MAX_ID)
        self.assertIsNone(self.decisions.made_by(id))
        self.assertEqual(self.decisions.made_by(elsewhere), bytes.fromhex(other))
        for unclear in ("", "1-2-3-4", f"{other}", f"{other}-1", f"X{elsewhere[1:]}"):
            self.assertIsNone(self.decisions.made_by(unclear))
        self.assert_unknown(elsewhere, id.removeprefix(f"{one}-"))
        self.assertEqual(self.decisions.number_of(id), 1)
        self.assertEqual(self.decisions.id_of(1, self.clock.seconds()), id)
        self.assertEqual(self.decisions.use(id), A)
        self.assert_refused(409, "the decision has an outcome already", id)

    def test_not_shared(self) -> None:
        """A router that shares nothing knows of no other."""
        self.assertIsNone(self.decisions.made_by("fedcba9876543210-1-2-3-4"))

    def test_valid(self) -> None:
        """An id can be used for ten minutes, also when other nodes were chosen since."""
        for _ in range(5):
            ids = []
            for _ in range(VALID + 2):
                ids.append(self.made())
                self.made(B)
                self.clock.advance(1)
            self.assert_unknown(ids[0])
            self.assertEqual({self.decisions.use(id) for id in ids[2:]}, {A})
            self.assert_refused(409, "the decision has an outcome already", *ids[2:])

    def test_idle(self) -> None:
        """An id is too old after ten minutes, also when no decision was made since."""
        first, second = self.made(), self.made()
        self.clock.advance(VALID)
        self.decisions.use(first)
        self.clock.advance(1)
        self.assert_unknown(first, second)
        for _ in range(3):
            self.clock.advance(VALID * 3)
            third = self.made()
            self.assert_unknown(first, second)
            self.assertEqual(self.decisions.use(third), A)

    def test_number(self) -> None:
        """An id has the number of its decision, and follows from the number and the time."""
        made = []
        for address in (A, B, B, A):
            made.append((self.made(address), self.clock.seconds()))
            self.clock.advance(VALID)
        for number, (id, at) in enumerate(made, 1):
            self.assertEqual(self.decisions.id_of(number, at), id)
            self.assertEqual(self.decisions.number_of(id), number)
        self.assertIsNone(self.decisions.number_of("1-0-0-0"))
        self.assertIsNone(self.decisions.number_of("x"))
