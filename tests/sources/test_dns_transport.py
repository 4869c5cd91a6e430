"""Tests of infernet_router.sources.dns_transport; see also those of name_servers."""

from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.trial.unittest import TestCase

from infernet_router.sources.dns_messages import A, encode_question
from infernet_router.sources.dns_transport import NoAnswer, ask_over_tcp, ask_over_udp

reactor: Any = installed_reactor


class Babbling(DatagramProtocol):
    """A name server that does not know DNS."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(b"?", addr)


class NoAnswerTests(TestCase):
    def setUp(self) -> None:
        self.question = encode_question(1, "node.invalid", A)

    async def test_malformed(self) -> None:
        """Malformed replies are waited out, and are the reason when nothing else comes."""
        port = reactor.listenUDP(0, Babbling(), "127.0.0.1")
        self.addCleanup(port.stopListening)
        server = ("127.0.0.1", port.getHost().port)
        asked = Deferred.fromCoroutine(ask_over_udp(reactor, server, self.question, 0.2))
        failure: Any = await self.assertFailure(asked, NoAnswer)
        self.assertEqual(failure.reason, "the answer is malformed")

    async def test_refused(self) -> None:
        """A port at which no server listens refuses at once."""
        port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        server = ("127.0.0.1", port.getHost().port)
        await port.stopListening()
        for ask in (
            ask_over_tcp(reactor, server, self.question),
            ask_over_udp(reactor, server, self.question, 30),
        ):
            failure: Any = await self.assertFailure(Deferred.fromCoroutine(ask), NoAnswer)
            self.assertEqual(str(failure), "connection refused")
