"""Tests of infernet_router.nodes.exchange: of requests on kept and new connections."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from infernet_router.nodes.asking import KEEP_ALIVE, NoAnswer
from tests.doubles import ANSWER, Asking, logged

REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


@implementer(IHostResolution)
class Lookup:
    """A request to look up a name."""

    name = "node.invalid"

    def cancel(self) -> None:
        """Do nothing."""


@implementer(IHostnameResolver)
class Names:
    """A resolver that knows one address, or none."""

    address: str | None = "192.0.2.1"
    hangs = False

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *_: Any
    ) -> IHostResolution:
        lookup = Lookup()
        resolutionReceiver.resolutionBegan(lookup)
        if self.hangs:
            return lookup
        if self.address is not None:
            resolutionReceiver.addressResolved(IPv4Address("TCP", self.address, portNumber))
        resolutionReceiver.resolutionComplete()
        return lookup


class Distrusting(Asking):
    """Base class: checks what is logged about kept connections."""

    def setUp(self) -> None:
        super().setUp()
        self.lines = logged(self, "infernet_router.nodes.connections")

    def assert_distrusted(self, reason: str) -> None:
        """No connection is kept, and the log says why."""
        line = f"info: no connections to 192.0.2.1:4000 are kept for a while: {reason}"
        self.assertEqual(self.lines, [line])
        answered = self.ask()
        protocol, transport = self.connected()
        self.assertIn(b"\r\nConnection: close\r\n", transport.value())
        protocol.dataReceived(ANSWER)
        self.successResultOf(answered)
        self.assertTrue(transport.disconnecting)


class LostTests(Distrusting):
    def test_closed(self) -> None:
        """When the node has closed a kept connection, the request is sent on a new one."""
        protocol, _ = self.kept()
        answered = self.ask()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.attempts, 2)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual(self.lines, [])

    def test_closed_again(self) -> None:
        """When the new connection is closed too, the request has failed."""
        protocol, _ = self.kept()
        answered = self.ask()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.connected()[0].connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(answered, NoAnswer)
        self.assertEqual(self.attempts, 2)

    def test_cut(self) -> None:
        """When a response has begun on a kept connection, the request is not repeated."""
        for part in (ANSWER[:9], ANSWER[:-1]):
            protocol, _ = self.kept()
            attempts = self.attempts
            answered = self.ask()
            protocol.dataReceived(part)
            protocol.connectionLost(Failure(ConnectionDone()))
            self.failureResultOf(answered, NoAnswer)
            self.assertEqual(self.attempts, attempts)

    def test_refused(self) -> None:
        """When a new connection cannot be made, the request has failed."""
        answered = self.ask()
        self.refused()
        reason = str(self.failureResultOf(answered, NoAnswer).value)
        self.assertEqual(reason, "connection refused")

    def test_cancelled(self) -> None:
        """Cancelling a request ends its attempts to connect, whose failure is ignored."""
        answered = self.ask()
        answered.cancel()
        self.failureResultOf(answered, NoAnswer)
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
        self.refused()
        self.pool.closeCachedConnections()
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class RepeatedTests(Distrusting):
    def test_timed_out(self) -> None:
        """When a server has given up a kept connection, the request is sent on a new one."""
        protocol, transport = self.kept()
        answered = self.ask()
        protocol.dataReceived(REQUEST_TIMEOUT)
        self.assertTrue(transport.disconnecting)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assert_distrusted("one brought the answer HTTP 408")

    def test_once(self) -> None:
        """The same answer on a new connection is that of the node."""
        protocol, _ = self.kept()
        answered = self.ask()
        protocol.dataReceived(REQUEST_TIMEOUT)
        self.connected()[0].dataReceived(REQUEST_TIMEOUT)
        self.assertEqual(str(self.failureResultOf(answered, NoAnswer).value), "HTTP 408")
        self.assertEqual(self.attempts, 2)

    def test_late(self) -> None:
        """When the request was sent on a new connection already, that goes on."""
        protocol, _ = self.kept()
        answered = self.ask()
        self.reactor.advance(1.1)
        protocol.dataReceived(REQUEST_TIMEOUT)
        self.assertEqual(self.attempts, 2)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")


class SilentTests(Distrusting):
    def test_dead(self) -> None:
        """When nothing comes on a kept connection, a new one is tried, which then is not kept."""
        _, transport = self.kept()
        answered = self.ask()
        self.reactor.advance(0.9)
        self.assertEqual(self.attempts, 1)
        self.reactor.advance(0.2)
        self.assertEqual(self.attempts, 2)
        self.assertFalse(transport.disconnecting)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertTrue(transport.disconnecting)
        self.assert_distrusted("one was dead, or is slow")
        self.reactor.advance(600)
        self.kept()

    def test_others(self) -> None:
        """When a kept connection is dead, the others to this host are closed too."""
        asked = [self.ask(f"http://192.0.2.1:4000/{name}/info") for name in "ab"]
        other, other_transport = self.connected(0)
        other.dataReceived(ANSWER)
        self.connected(1)[0].dataReceived(ANSWER)
        self.assertEqual([self.successResultOf(answered) for answered in asked], [b"{}"] * 2)
        answered = self.ask()
        self.reactor.advance(1.1)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertTrue(other_transport.disconnecting)

    def test_slow(self) -> None:
        """A slow answer on the kept connection is taken; from then on, requests are sent once."""
        protocol, transport = self.kept()
        answered = self.ask()
        self.reactor.advance(1.1)
        _, other = self.connected()
        protocol.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual((transport.disconnecting, other.disconnecting), (True, True))
        attempts = self.attempts
        self.assert_distrusted("one was dead, or is slow")
        self.assertEqual(self.attempts, attempts + 1)

    def test_begun(self) -> None:
        """While a response is arriving on the kept connection, no other is tried."""
        protocol, _ = self.kept()
        answered = self.ask()
        protocol.dataReceived(ANSWER[:9])
        self.reactor.pump([0.5] * 5)
        self.assertEqual(self.attempts, 1)
        protocol.dataReceived(ANSWER[9:])
        self.assertEqual(self.successResultOf(answered), b"{}")

    def test_hangs(self) -> None:
        """When nothing comes on either connection, the request ends with the timeout."""
        _, transport = self.kept()
        answered = self.ask()
        self.reactor.advance(1.1)
        _, other = self.connected()
        self.reactor.pump([0.5] * 4)
        reason = str(self.failureResultOf(answered, NoAnswer).value)
        self.assertEqual(reason, "timeout after 3 s")
        self.assertEqual((transport.disconnecting, other.disconnecting), (True, True))
        self.assertEqual(self.attempts, 2)

    def test_down(self) -> None:
        """When the node refuses the new connection, the request has failed at once."""
        _, transport = self.kept()
        answered = self.ask()
        self.reactor.advance(1.1)
        self.refused()
        reason = str(self.failureResultOf(answered, NoAnswer).value)
        self.assertEqual(reason, "connection refused")
        self.assertTrue(transport.disconnecting)

    def test_closed_later(self) -> None:
        """When the kept connection is closed after the new one was tried, that one is left."""
        protocol, _ = self.kept()
        answered = self.ask()
        self.reactor.advance(1.1)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertNoResult(answered)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual(self.attempts, 2)


class SerialTests(Distrusting):
    """A node that handles one connection at a time, and is locked by a kept one."""

    def test_noticed(self) -> None:
        """If there is no answer until a kept connection is closed, twice, none is kept any more."""
        for _ in range(2):
            self.assertEqual(self.lines, [])
            self.unlock()
        self.assert_distrusted("it handles one connection at a time")

    def test_chance(self) -> None:
        """An answer on a new connection beside a kept one shows that the last time was chance."""
        self.unlock()
        self.kept()
        answered = self.ask(keep=False)
        self.connected()[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.reactor.pump([KEEP_ALIVE, 0.0])
        self.unlock()
        self.assertEqual(self.lines, [])

    def unlock(self) -> None:
        """Ask on a new connection; the answer comes when the kept one is closed."""
        _, transport = self.kept()
        answered = self.ask(keep=False)
        protocol, _ = self.connected()
        self.reactor.advance(0.9)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(0.2)
        self.assertTrue(transport.disconnecting)
        protocol.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")

    def test_slow(self) -> None:
        """A node that answers later than it would then is only slow."""
        _, transport = self.kept()
        answered = self.ask(keep=False)
        protocol, _ = self.connected()
        self.reactor.advance(1.1)
        self.assertTrue(transport.disconnecting)
        self.reactor.advance(0.4)
        protocol.dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual(self.lines, [])

    def test_once(self) -> None:
        """A slow answer closes a kept connection only once."""
        self.kept()
        answered = self.ask(keep=False, timeout=9.0)
        self.reactor.advance(1.1)
        _, transport = self.kept()
        self.reactor.pump([0.5] * 5)
        self.assertFalse(transport.disconnecting)
        answered.cancel()
        self.failureResultOf(answered, NoAnswer)

    def test_in_use(self) -> None:
        """A connection that is in use when there is no answer is closed when it is idle."""
        protocol, transport = self.kept()
        self.ask()
        self.ask(keep=False, timeout=9.0).addErrback(lambda _: None)
        self.reactor.advance(0.9)
        protocol.dataReceived(ANSWER)
        self.ask()
        self.reactor.advance(0.2)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(ANSWER)
        self.reactor.advance(1.1)
        self.assertTrue(transport.disconnecting)

    def test_several(self) -> None:
        """A host with two kept connections handles both: a slow answer closes neither."""
        asked = [self.ask(f"http://192.0.2.1:4000/{name}/info") for name in "ab"]
        transports = []
        for number in (0, 1):
            protocol, transport = self.connected(number)
            protocol.dataReceived(ANSWER)
            transports.append(transport)
        self.assertEqual([self.successResultOf(answered) for answered in asked], [b"{}"] * 2)
        self.ask(keep=False).addErrback(lambda _: None)
        self.reactor.advance(1.5)
        self.assertEqual([t.disconnecting for t in transports], [False, False])


class NameTests(Asking):
    URL = "http://node.invalid:4000/info"

    host = ""
    """The IP address to which the last connection was made."""

    def setUp(self) -> None:
        super().setUp()
        self.names = self.reactor.nameResolver = Names()

    def answered_by(self) -> str:
        """The IP address of the node that answers a request, over a new or a kept connection."""
        attempts = self.attempts
        answered = self.ask(self.URL)
        if self.attempts > attempts:
            self.host, *_ = self.reactor.tcpClients[-1]
            self.connection = self.connected()
        self.connection[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
        return self.host

    def test_moved(self) -> None:
        """When a name has another address, connections to the old one end within a minute."""
        self.assertEqual(self.answered_by(), "192.0.2.1")
        _, old = self.connection
        self.names.address = "192.0.2.2"
        hosts = []
        for _ in range(21):
            self.reactor.advance(3)
            hosts.append(self.answered_by())
        self.assertEqual(hosts, ["192.0.2.1"] * 19 + ["192.0.2.2"] * 2)
        self.assertEqual(self.attempts, 2)
        self.assertTrue(old.disconnecting)

    def test_unknown_for_a_while(self) -> None:
        """While a name cannot be looked up, its old connection is used for one more minute."""
        self.answered_by()
        self.names.address = None
        for _ in range(39):
            self.reactor.advance(3)
            self.assertEqual(self.answered_by(), "192.0.2.1")
        self.reactor.advance(3)
        reason = str(self.failureResultOf(self.ask(self.URL), NoAnswer).value)
        self.assertEqual(reason, "unknown host name")
        self.reactor.advance(KEEP_ALIVE)
        self.assertTrue(self.connection[1].disconnecting)

    def test_lookup_hangs(self) -> None:
        """While a lookup of the name gets no answer, the old connection is used."""
        self.answered_by()
        for _ in range(60):
            self.reactor.advance(3)
            self.names.hangs = True
            answered = self.ask(self.URL)
            if self.reactor.seconds() >= 60:
                self.assertNoResult(answered)
                self.reactor.pump([1.1, 0.0])
            self.connection[0].dataReceived(ANSWER)
            self.assertEqual(self.successResultOf(answered), b"{}")
        self.assertEqual(self.attempts, 1)
        self.assertEqual(self.host, "192.0.2.1")

    def test_unknown_while_silent(self) -> None:
        """When nothing comes on a kept connection and the name is unknown, that one is left."""
        self.answered_by()
        self.names.address = None
        answered = self.ask(self.URL)
        self.reactor.advance(1.1)
        self.assertNoResult(answered)
        self.connection[0].dataReceived(ANSWER)
        self.assertEqual(self.successResultOf(answered), b"{}")
