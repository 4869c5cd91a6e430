"""Tests of infernet_router.fleet.orders."""

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.fleet import BadOrder, Order, decode_order, encode_order

ORDER = Order(
    address=parse_address("https://node.invalid/b"),
    version=7,
    sender="0123456789abcdef",
    drain=True,
    weight=0.5,
    reason="“new” kernel",
    by="bob",
    given=1000.5,
    until=2000.0,
    ended=1500.0,
)


class OrderTests(SynchronousTestCase):
    def test_encoded(self) -> None:
        """An order is the same once it was encoded and decoded, whatever it leaves out."""
        short = Order(address=parse_address("192.0.2.1:4000"), version=1, sender="0" * 16)
        for order in (ORDER, short, evolve(ORDER, until=None, ended=None, weight=None)):
            encoded = encode_order(order)
            self.assertNotIn(b"\n", encoded)
            self.assertEqual(decode_order(encoded), order)

    def test_key(self) -> None:
        """The greater version is the later order; the sender breaks ties."""
        self.assertLess(ORDER.key, evolve(ORDER, version=10, sender="0" * 16).key)
        self.assertLess(ORDER.key, evolve(ORDER, sender="1" * 16).key)

    def test_bad(self) -> None:
        """What is no order is refused with the reason, and so is what a newer release added."""
        good = json.loads(encode_order(ORDER))
        for changes, reason in (
            ({"colour": 1}, "unknown field `colour`"),
            ({"address": "a b"}, "the address is bad: there is a blank inside"),
            ({"version": -1}, "version or sender is out of range"),
            ({"version": 2**53}, "version or sender is out of range"),
            ({"sender": "x"}, "version or sender is out of range"),
            ({"drain": 1}, "Expected `bool`, got `int` - at `$.drain`"),
            ({"weight": 11}, "weight is not from 0.1 to 10"),
            ({"weight": 0}, "weight is not from 0.1 to 10"),
            ({"reason": "x" * 501}, "reason or by is too long"),
            ({"by": "x" * 101}, "reason or by is too long"),
            ({"until": -1.0}, "given, until or ended is out of range"),
            ({"given": 1e300}, "given, until or ended is out of range"),
        ):
            with self.assertRaises(BadOrder) as caught:
                decode_order(json.dumps({**good, **changes}).encode())
            self.assertIn(reason, str(caught.exception))
        for content in (b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000):
            self.assertRaises(BadOrder, decode_order, content)
