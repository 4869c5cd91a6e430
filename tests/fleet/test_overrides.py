"""Tests of infernet_router.fleet.overrides."""

from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.fleet import (
    Fleet,
    NodeView,
    Order,
    Overrides,
    Tier,
    decode_order,
    encode_order,
    overrides,
)
from infernet_router.fleet.orders import MAX_VERSION
from tests.doubles import addresses

A, B = addresses("192.0.2.1:4000", "https://node.invalid/b")
DAY = 86400.0


class OverridesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.wall = Clock(), Clock()
        self.wall.advance(1e9)
        self.fleet = Fleet(self.clock.seconds, Random(1))
        self.fleet.replace([A])
        self.overrides = self.store("a" * 16)
        self.told: list[Order] = []
        self.overrides.listen(self.told.append)
        self.learned: list[list[Order]] = []
        self.overrides.follow(lambda learned: self.learned.append(list(learned)))

    def store(self, sender: str) -> Overrides:
        return Overrides(self.fleet, self.clock.seconds, self.wall.seconds, sender)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wall.advance(seconds)

    def order(self, address: NodeAddress, **values: Any) -> Order:
        """Give an order; returns it."""
        every = {"drain": True, "weight": None, "reason": "", "by": "bob", "seconds": None}
        order = self.overrides.ordering(address, **{**every, **values})
        self.overrides.apply(order)
        return order

    def view(self, address: NodeAddress) -> NodeView:
        view = self.fleet.view(address)
        assert view is not None
        return view

    def test_order(self) -> None:
        """An order is in force once it is applied, and until its end is."""
        order = self.overrides.ordering(
            A, drain=True, weight=2.0, reason="why", by="bob", seconds=60
        )
        self.assertEqual((self.view(A).override, self.overrides.in_force), (Tier.NORMAL, {}))
        self.overrides.apply(order)
        self.assertEqual((self.view(A).override, self.view(A).weight), (Tier.DRAINED, 2.0))
        self.assertEqual((order.given, order.until, order.ended), (1e9, 1e9 + 60, None))
        self.assertEqual(self.overrides.in_force, {A: order})
        end = self.overrides.ending(A, "eve")
        self.overrides.apply(end)
        self.assertEqual((self.view(A).override, self.view(A).weight), (Tier.NORMAL, 1.0))
        self.assertEqual((order.version, end.version, self.overrides.version), (1, 2, 2))
        self.assertEqual((end.ended, end.by), (1e9, "eve"))
        self.assertEqual((self.told, self.learned), ([order, end], []))
        self.assertEqual(self.overrides.known(), [end])
        self.assertIsNone(self.overrides.next_end)

    def test_later_node(self) -> None:
        """An order applies to a node that appears later, in any spelling."""
        self.order(B)
        self.fleet.replace([parse_address("https://Node.invalid:443/b/")])
        self.assertEqual(self.view(B).override, Tier.DRAINED)

    def test_ends(self) -> None:
        """An order ends when its time is over, whatever the time of day says."""
        order = self.order(A, seconds=60)
        self.order(B, seconds=70)
        self.wall.advance(-30 * DAY)
        self.clock.advance(59)
        self.assertEqual((self.overrides.expire(), self.overrides.next_end), ([], 1.0))
        self.clock.advance(1)
        self.assertEqual((self.overrides.expire(), self.learned), ([order], [[]]))
        self.assertEqual((self.view(A).override, self.overrides.next_end), (Tier.NORMAL, 10.0))
        self.assertEqual(list(self.overrides.in_force), [B])
        self.assertEqual(len(self.told), 2)
        ended = [known for known in self.overrides.known() if known.address == A]
        self.assertEqual(ended, [evolve(order, ended=self.wall.seconds())])

    def test_many_end(self) -> None:
        """Of many orders that end together, a hundred do at once; followers hear after the last."""
        many = addresses(*(f"192.0.2.{number}" for number in range(150)))
        orders = [self.order(address, seconds=60) for address in many]
        self.pass_time(60)
        self.assertEqual(self.overrides.expire(), orders[:100])
        self.assertEqual((self.overrides.next_end, self.learned), (0.0, []))
        self.assertEqual(self.overrides.expire(), orders[100:])
        self.assertEqual((self.overrides.next_end, self.learned), (None, [[]]))

    def test_learned(self) -> None:
        """Of two orders, the later one is in force, in whichever order they are learned."""
        other = self.store("b" * 16)
        mine = self.order(A)
        theirs = other.ordering(A, drain=False, weight=3.0, reason="", by="eve", seconds=None)
        self.assertEqual(self.overrides.learn([theirs]), [theirs])
        self.assertEqual(self.overrides.learn([mine, theirs]), [])
        self.assertEqual((self.view(A).override, self.view(A).weight), (Tier.NORMAL, 3.0))
        self.assertEqual((self.told, self.learned), ([mine], [[theirs]]))
        self.assertEqual(self.order(A).version, 2)

    def test_greatest_version(self) -> None:
        """After the greatest version, an order has that one, too: it can still be decoded."""
        self.overrides.learn([evolve(self.overrides.ending(B, ""), version=MAX_VERSION)])
        order = self.order(A)
        self.assertEqual(order.version, MAX_VERSION)
        self.assertEqual(decode_order(encode_order(order)), order)

    def test_learned_time(self) -> None:
        """A learned order ends at its time of day; one whose time is over is not in force."""
        end = evolve(self.overrides.ending(A, ""), ended=None, until=self.wall.seconds() + 5)
        self.assertEqual(len(self.overrides.learn([end])), 1)
        self.assertEqual(self.overrides.next_end, 5.0)
        self.pass_time(5)
        self.overrides.expire()
        later = evolve(end, version=9)
        self.overrides.learn([later])
        self.assertEqual(self.overrides.in_force, {})
        self.assertEqual(self.overrides.known(), [evolve(later, ended=later.until)])

    def test_revived(self) -> None:
        """An order that was ended is not taken from a router that has not heard of it yet."""
        order = self.order(A)
        self.overrides.apply(self.overrides.ending(A, "bob"))
        self.pass_time(7 * DAY - 1)
        self.assertEqual(self.overrides.learn([order]), [])
        self.assertEqual(len(self.overrides.known()), 1)
        self.pass_time(2)
        self.assertEqual(self.overrides.known(), [])

    def test_forgotten(self) -> None:
        """An order that ended 7 days ago is not learned again, unless it ends an older one."""
        order = self.order(A)
        end = self.overrides.ending(A, "bob")
        self.overrides.apply(end)
        self.pass_time(7 * DAY + 1)
        self.assertEqual(self.overrides.known(), [])
        self.assertEqual(self.overrides.learn([end]), [])
        self.assertEqual(self.overrides.learn([order]), [order])
        self.assertEqual(self.overrides.learn([end]), [end])
        self.assertEqual(self.overrides.in_force, {})

    def test_limits(self) -> None:
        """There is a limit of overrides, and one of those that ended."""
        self.patch(overrides, "MAX_OVERRIDES", 2)
        self.patch(overrides, "_MOST_ENDED", 1)
        c, d = addresses("192.0.2.3", "192.0.2.4")
        for address in (A, B):
            self.order(address)
        extra = [
            evolve(
                self.overrides.ordering(
                    address, drain=True, weight=None, reason="", by="", seconds=None
                ),
                version=9,
            )
            for address in (c, A)
        ]
        self.assertEqual(self.overrides.learn(extra), extra[1:])
        self.overrides.apply(extra[0])
        self.assertEqual(len(self.told), 2)
        for address in (A, B):
            self.overrides.apply(self.overrides.ending(address, ""))
        self.assertEqual([known.address for known in self.overrides.known()], [B])
        self.assertEqual(self.order(d).version, 12)
