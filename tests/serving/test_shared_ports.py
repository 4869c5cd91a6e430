"""Tests of infernet_router.serving.shared_ports."""

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from infernet_router.serving.shared_ports import SharedPorts


class SharedPortsTests(TestCase):
    @inlineCallbacks
    def test_shared(self) -> Any:
        """Two can listen on one port if both share it, with IPv4 and with IPv6."""
        shared = SharedPorts(reactor)
        for endpoint in ("tcp:%d:interface=127.0.0.1", "tcp6:%d:interface=\\:\\:1"):
            first = yield serverFromString(shared, endpoint % 0).listen(Factory())
            self.addCleanup(first.stopListening)
            port = first.getHost().port
            second = yield serverFromString(shared, endpoint % port).listen(Factory())
            self.addCleanup(second.stopListening)
            self.assertEqual(second.getHost(), first.getHost())
            alone: Deferred[Any] = serverFromString(reactor, endpoint % port).listen(Factory())
            yield self.assertFailure(alone, CannotListenError)

    @inlineCallbacks
    def test_refused(self) -> Any:
        """What the system refuses is an error, as with any other port."""
        shared = SharedPorts(reactor)
        for endpoint in (
            "tcp:0:interface=192.0.2.1",
            "tcp:0:interface=nonsense",
            "tcp6:0:interface=\\:\\:z",
        ):
            refused: Deferred[Any] = serverFromString(shared, endpoint).listen(Factory())
            yield self.assertFailure(refused, CannotListenError)

    def test_everything_else(self) -> None:
        """All else is the reactor's own."""
        self.assertEqual(SharedPorts(reactor).callLater, reactor.callLater)
