"""Tests of infernet_router.replicas.link."""

from inspect import getmembers, isfunction, signature

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.simulation.hub import HubLink
from infernet_router.replicas.link import Link
from infernet_router.replicas.redis import RedisLink


class LinkTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """The link to Redis and the double of the tests are called in the same way."""
        calls = [name for name, _ in getmembers(Link, isfunction) if not name.startswith("_")]
        self.assertIn("publish", calls)
        for name in calls:
            wanted = list(signature(getattr(Link, name)).parameters)
            for kind in (RedisLink, HubLink):
                self.assertEqual(list(signature(getattr(kind, name)).parameters), wanted, name)
