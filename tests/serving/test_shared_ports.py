"""Tests of infernet_router.serving.shared_ports."""

from errno import EADDRINUSE
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
    def test_taken(self) -> Any:
        """A port that another process does not share is taken, as it would be otherwise."""
        alone = yield serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Factory())
        self.addCleanup(alone.stopListening)
        endpoint = f"tcp:{alone.getHost().port}:interface=127.0.0.1"
        sharing: Deferred[Any] = serverFromString(SharedPorts(reactor), endpoint).listen(Factory())
        problem = yield self.assertFailure(sharing, CannotListenError)
        self.assertEqual(problem.socketError.errno, EADDRINUSE)

    def test_everything_else(self) -> None:
        """All else is the reactor's own."""
        self.assertEqual(SharedPorts(reactor).callLater, reactor.callLater)
