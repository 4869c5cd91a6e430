"""Tests of infernet_router.replicas.joining."""

from random import Random

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet import Overrides
from infernet_router.fleet.shared import SharedFleet
from infernet_router.replicas.joining import join, share_orders
from infernet_router.replicas.redis_url import parse_redis_url


class JoiningTests(SynchronousTestCase):
    def test_join(self) -> None:
        """Each router has a name of its own; nothing is connected before it starts."""
        reactor = MemoryReactorClock()
        fleet = SharedFleet(reactor.seconds, Random(1))
        one, other = (
            join(parse_redis_url("redis://192.0.2.1"), None, "prefix", fleet, reactor)
            for _ in range(2)
        )
        self.assertRegex(one.router, "^[0-9a-f]{16}$")
        self.assertNotEqual(one.router, other.router)
        self.assertEqual((reactor.tcpClients, reactor.getDelayedCalls()), ([], []))
        self.assertEqual((one.members, one.is_alone), (1, True))

    def test_orders(self) -> None:
        """Batches have the version of the orders that are known here."""
        reactor = MemoryReactorClock()
        fleet = SharedFleet(reactor.seconds, Random(1))
        sharing = join(parse_redis_url("redis://192.0.2.1"), None, "prefix", fleet, reactor)
        share_orders(sharing, Overrides(fleet, reactor.seconds, lambda: 0.0, "0" * 16), reactor)
        assert sharing.orders is not None
        self.assertEqual(sharing.orders.digest, 0)
