"""Tests of infernet_router.replicas.orders."""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet, Order, Overrides, encode_order
from infernet_router.replicas.link import LinkLost
from infernet_router.replicas.orders import SharedOrders
from tests.doubles import logged

DAY = 86400.0
A, B = (parse_address(f"192.0.2.{number}:4000") for number in (1, 2))


class Hash:
    """A link to the hash that all replicas share; it can be away."""

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.problem: LinkLost | None = None
        self.readings = 0
        self.held: list[Deferred[Any]] | None = None
        """When it is a list, readings wait in it."""

    def _do(self, result: object) -> Deferred[Any]:
        return succeed(result) if self.problem is None else fail(self.problem)

    def start(self, listener: object) -> None: ...

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def publish(self, message: bytes) -> Deferred[Any]:
        return succeed(None)

    def read_orders(self) -> Deferred[Mapping[bytes, bytes]]:
        self.readings += 1
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return self._do(dict(self.fields))

    def write_orders(self, orders: Mapping[bytes, bytes]) -> Deferred[Any]:
        if self.problem is None:
            self.fields |= orders
        return self._do(None)

    def forget_orders(self, fields: Iterable[bytes]) -> Deferred[Any]:
        for field in fields:
            del self.fields[field]
        return self._do(None)


class SharedOrdersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.hash = Clock(), Hash()
        self.clock.advance(100 * DAY)
        self.log = logged(self, "infernet_router.replicas.orders")
        self.replicas = [self.replica(number) for number in range(2)]

    def replica(self, number: int) -> tuple[Overrides, SharedOrders]:
        seconds = self.clock.seconds
        overrides = Overrides(Fleet(seconds, Random(1)), seconds, seconds, f"{number:016x}")
        return overrides, SharedOrders(overrides, self.hash, self.clock, seconds)

    def drain(self, number: int, address: Any = A) -> Order:
        """An operator drains a node at one replica."""
        overrides, _ = self.replicas[number]
        order = overrides.ordering(
            address, drain=True, weight=None, reason="", by="ann", seconds=None
        )
        overrides.apply(order)
        return order

    def connect(self, number: int) -> None:
        self.replicas[number][1].connected()
        self.clock.pump([0.0] * 5)

    def hear(self) -> None:
        """Each replica hears the digest of the other."""
        (_, one), (_, two) = self.replicas
        for _ in range(3):
            one.heard(two.digest)
            two.heard(one.digest)
            self.clock.pump([0.0] * 5)
            self.clock.advance(2)

    def orders(self, number: int) -> list[Order]:
        return self.replicas[number][0].known()

    def assert_same(self) -> None:
        """Both replicas and the hash have the same orders, and the replicas have seen that."""
        by_address = {order.address: order for order in self.orders(0)}
        self.assertEqual({order.address: order for order in self.orders(1)}, by_address)
        encoded = {str(a).encode(): encode_order(order) for a, order in by_address.items()}
        self.assertEqual(self.hash.fields, encoded)
        self.assertEqual(self.replicas[0][1].digest, self.replicas[1][1].digest)

    def test_given(self) -> None:
        """An order that is given here reaches the others by the hash."""
        self.assertEqual(self.replicas[0][1].digest, 0)
        order = self.drain(0)
        self.hear()
        self.assertEqual(self.orders(1), [order])
        self.assert_same()
        self.assertEqual(self.log, [])  # what learns it logs it
        readings = self.hash.readings
        self.hear()
        self.assertEqual(self.hash.readings, readings)

    def test_has_told(self) -> None:
        """The others can know an order once it is in the hash."""
        shared = self.replicas[0][1]
        self.assertFalse(shared.has_told(A))
        self.hash.problem = LinkLost("gone")
        self.drain(0)
        self.assertFalse(shared.has_told(A))
        self.hash.problem = None
        self.connect(0)
        self.assertTrue(shared.has_told(A))
        self.assertFalse(shared.has_told(B))

    def test_both_at_once(self) -> None:
        """Orders that two replicas were given while they were apart reach each other."""
        self.hash.problem = LinkLost("connection refused")
        self.drain(0, A)
        self.drain(1, B)
        self.hash.problem = None
        self.connect(0)
        self.connect(1)
        self.hear()
        self.assert_same()
        self.assertEqual({order.address for order in self.orders(0)}, {A, B})

    def test_same_address(self) -> None:
        """Of two orders for one address, the same one wins everywhere."""
        self.hash.problem = LinkLost("connection refused")
        self.drain(0)
        later = self.drain(1)
        self.hash.problem = None
        self.connect(1)
        self.connect(0)
        self.hear()
        self.assert_same()
        self.assertEqual(self.orders(0), [later])

    def test_flushed(self) -> None:
        """After a flush, the hash is written again, once a replica connects or knows less."""
        self.drain(0)
        self.hear()
        self.hash.fields.clear()
        self.connect(0)
        self.assert_same()
        self.hash.fields.clear()
        self.replicas[1] = self.replica(2)
        self.connect(1)
        self.hear()
        self.assert_same()
        self.assertNotEqual(self.hash.fields, {})

    def test_ended(self) -> None:
        """The end of an order wins over the order, also when that is written back."""
        order = self.drain(0)
        self.hear()
        overrides, _ = self.replicas[0]
        overrides.apply(overrides.ending(A, "ann"))
        self.hash.fields[str(A).encode()] = encode_order(order)
        self.connect(0)
        self.clock.advance(1)
        self.hear()
        self.assert_same()
        self.assertIsNotNone(self.orders(1)[0].ended)

    def test_forgotten(self) -> None:
        """What ended 8 days ago is removed from the hash, and not learned again."""
        overrides, _ = self.replicas[0]
        self.drain(0)
        overrides.apply(overrides.ending(A, "ann"))
        self.clock.advance(8 * DAY + 1)
        self.connect(1)
        self.assertEqual(self.hash.fields, {})
        self.assertEqual(self.orders(1), [])

    def test_many(self) -> None:
        """Many orders are taken in several turns."""
        for number in range(450):
            self.drain(0, parse_address(f"192.0.2.{number % 250}:{4000 + number}"))
        self.hear()
        self.assert_same()
        self.assertEqual(len(self.orders(1)), 450)

    def test_given_meanwhile(self) -> None:
        """What is given while the hash is written again reaches the others, too."""
        addresses = [parse_address(f"192.0.2.{number}:4000") for number in range(250)]
        for address in addresses[:-1]:
            self.drain(0, address)
        self.hear()
        self.hash.fields.clear()
        self.replicas[0][1].connected()
        overrides, _ = self.replicas[0]
        overrides.apply(overrides.ending(addresses[200], "ann"))  # one that is yet to be written
        self.drain(0, addresses[-1])  # one that was unknown when that began
        self.clock.pump([0.0] * 5)
        self.hear()
        self.assert_same()
        self.assertEqual(len(self.orders(1)), 250)

    def test_given_while_writing(self) -> None:
        """An order that is given while an older one for its address is on its way replaces it."""
        self.drain(0)
        self.hear()
        self.hash.fields.clear()
        sent: list[Deferred[Any]] = []
        write = self.hash.write_orders
        self.patch(self.hash, "write_orders", lambda orders: _later(sent, write, orders))
        self.replicas[0][1].connected()
        overrides, _ = self.replicas[0]
        overrides.apply(overrides.ending(A, "ann"))
        for written in reversed(sent):
            written.callback(None)
        self.clock.pump([0.0] * 5)
        self.hear()
        self.assert_same()

    def test_malformed(self) -> None:
        """What is malformed in the hash is left alone, and said once."""
        self.hash.fields = {b"a": b"{}", b"b": b"\xff"}
        self.connect(0)
        self.connect(0)
        self.drain(0)
        self.assertEqual(len(self.hash.fields), 3)
        self.assertEqual(
            self.log,
            [
                "warn: orders of operators are not shared:"
                " 2 in Redis are malformed, or of a newer release"
            ],
        )

    def test_newer_release(self) -> None:
        """An order that only a newer release can read is not overwritten."""
        self.drain(0)
        newer = b'{"address": "192.0.2.1:4000", "version": 9, "sender": "%s", "x": 1}' % (b"0" * 16)
        self.hash.fields = {str(A).encode(): newer}
        self.connect(0)
        self.assertEqual(self.hash.fields, {str(A).encode(): newer})

    def test_patience(self) -> None:
        """While the hash brings nothing, it is read ever more seldom."""
        self.drain(0)
        _, shared = self.replicas[1]
        for _ in range(200):
            shared.heard(12345)
            self.clock.advance(1)
        self.assertTrue(5 < self.hash.readings <= 10, self.hash.readings)

    def test_patience_by_digest(self) -> None:
        """Readings for nothing, as for a newer release, do not delay what another router knows."""
        _, shared = self.replicas[1]
        for _ in range(100):
            shared.heard(12345)
            self.clock.advance(1)
        order = self.drain(0)
        shared.heard(12345)
        shared.heard(self.replicas[0][1].digest)
        self.clock.pump([0.0] * 5)
        self.assertEqual(self.orders(1), [order])

    def test_many_digests(self) -> None:
        """However many digests are heard, the hash is read once a second at most."""
        _, shared = self.replicas[1]
        for digest in range(1000):
            shared.heard(digest)
            self.clock.advance(0.1)
        self.assertTrue(90 <= self.hash.readings <= 100, self.hash.readings)

    def test_one_at_a_time(self) -> None:
        """The hash is read once at a time."""
        self.hash.held = []
        _, shared = self.replicas[0]
        for _ in range(10):
            shared.connected()
        self.assertEqual(len(self.hash.held), 1)
        self.hash.held[0].callback({})
        shared.connected()
        self.assertEqual(len(self.hash.held), 2)

    def test_refused(self) -> None:
        """The log says once why orders are not shared, and again after they were."""
        self.hash.problem = LinkLost("Redis refuses HGETALL: 'NOPERM'")
        why = "warn: orders of operators are not shared: Redis refuses HGETALL: 'NOPERM'"
        self.connect(0)
        self.drain(0)
        self.connect(0)
        self.assertEqual(self.log, [why])
        self.hash.problem = None
        self.connect(0)
        self.hash.problem = LinkLost("Redis refuses HGETALL: 'NOPERM'")
        self.connect(0)
        self.assertEqual(self.log, [why, why])


def _later(sent: list[Deferred[Any]], write: Any, orders: Mapping[bytes, bytes]) -> Deferred[Any]:
    """Write, and let the test say when that is known."""
    write(orders)
    sent.append(Deferred())
    return sent[-1]
