"""Tests of infernet_router.sources.name_servers and dns_transport, with servers on loopback."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import CannotListenError, NoRouteError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.protocols.basic import Int16StringReceiver
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import provider

from infernet_router.sources import dns_transport, name_servers
from infernet_router.sources.dns_messages import SRV, A
from infernet_router.sources.name_servers import Found, LookupFailed, NameServers, system_servers

reactor: Any = installed_reactor

Reply = Callable[[bytes], bytes | None]
"""What a server sends for a question; None for silence."""


def records(*ips: bytes, flags: int = 0x8180, count: int | None = None) -> Reply:
    """Replies with A records."""

    def reply(question: bytes) -> bytes:
        total = len(ips) if count is None else count
        head = question[:2] + struct.pack("!5H", flags, 1, total, 0, 0) + question[12:]
        return head + b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + ip for ip in ips)

    return reply


def alias(target: bytes, ttl: int = 60) -> Reply:
    """Replies that the name is an alias for another, without its records."""

    def reply(question: bytes) -> bytes:
        head = question[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + question[12:]
        return head + b"\xc0\x0c\0\5\0\1" + struct.pack("!IH", ttl, len(target)) + target

    return reply


def silent(question: bytes) -> None:
    """Does not reply."""


def changed(reply: Reply, change: Callable[[bytes], bytes]) -> Reply:
    return lambda question: change(reply(question) or b"")


FULL = records(b"\xc0\0\2\1", b"\xc0\0\2\2")
PART = records(b"\xc0\0\2\1", flags=0x8380)
NOTHING = records(flags=0x8380)


class Datagrams(DatagramProtocol):
    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked = 0
        self.questions: list[bytes] = []
        """The names that were asked for, encoded."""
        self.times = 1

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.asked += 1
        self.questions.append(datagram[12:-4])
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if (data := reply(datagram)) is not None and self.transport is not None:
            for _ in range(self.times):
                self.transport.write(data, addr)


class Streams(Factory):
    noisy = False

    def __init__(self, reply: Reply, *, close: bool = False) -> None:
        self.reply, self.close = reply, close

    def buildProtocol(self, addr: IAddress | None) -> Int16StringReceiver:
        factory = self

        class Stream(Int16StringReceiver):
            def stringReceived(self, string: bytes) -> None:
                assert self.transport is not None
                if factory.close:
                    self.transport.loseConnection()
                elif (data := factory.reply(string)) is not None:
                    self.sendString(data)
                    self.sendString(b"more")

        return Stream()


class NameServersTests(TestCase):
    def setUp(self) -> None:
        self.patch(dns_transport, "_TCP_TIMEOUT", 0.2)
        self.patch(name_servers, "_TIMEOUTS", (0.2, 0.2))

    def serve(self, *udp: Reply, tcp: Streams | None = None, host: str = "127.0.0.1") -> Any:
        """A name server; the address, and the protocol that counts its questions over UDP."""
        datagrams = Datagrams(*udp)
        listening = reactor.listenUDP(0, datagrams, interface=host)
        self.addCleanup(listening.stopListening)
        port = listening.getHost().port
        if tcp is not None:
            try:
                stream = reactor.listenTCP(port, tcp, interface=host)
            except CannotListenError:  # another program has this port for TCP
                return self.serve(*udp, tcp=tcp, host=host)
            self.addCleanup(stream.stopListening)
        return (host, port), datagrams

    def ask(self, *servers: Any, kind: int = A) -> Deferred[Found]:
        names = NameServers(reactor, lambda: servers)
        return Deferred.fromCoroutine(names.ask("nodes.invalid", kind))

    async def assert_fails(self, reason: str, *servers: Any, refused: bool = False) -> None:
        error: Any = await self.assertFailure(self.ask(*servers), LookupFailed)
        self.assertEqual(str(error), reason)
        self.assertEqual(error.refused, refused)

    def ips(self, found: Found) -> list[str]:
        return [record.host for record in found.records]

    async def test_found(self) -> None:
        """A server gives the records of a name, and nothing is logged."""
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(formatEvent(event))

        server, _ = self.serve(FULL)
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        found = await self.ask(server)
        await deferLater(reactor, 0)  # by then, the port of the question is closed
        self.assertEqual(self.ips(found), ["192.0.2.1", "192.0.2.2"])
        self.assertEqual((found.exists, found.flaw), (True, ""))
        self.assertEqual([line for line in lines if line], [])

    async def test_other_types(self) -> None:
        """Records of another type are left out."""
        server, _ = self.serve(FULL)
        self.assertEqual(self.ips(await self.ask(server, kind=SRV)), [])

    async def test_aliases(self) -> None:
        """An alias is followed if the server does not do so; its TTL limits that of the records."""
        to_x, resolved = alias(b"\1x\0", 20), records(b"\xc0\0\2\1")

        def both(question: bytes) -> bytes:
            reply = (to_x(question) or b"") + (resolved(question) or b"")[-16:]
            return reply[:6] + b"\0\2" + reply[8:]

        for first, asked in ((both, []), (to_x, [b"\1x\0"])):
            server, datagrams = self.serve(first, resolved)
            found = await self.ask(server)
            self.assertEqual([(r.host, r.ttl) for r in found.records], [("192.0.2.1", 20)])
            self.assertEqual(datagrams.questions[1:], asked)

    async def test_endless_aliases(self) -> None:
        """Aliases that lead in a circle are followed eight times, and a bad one never."""
        for target, times in ((b"\1x\0", 8), (b"\0", 0), (b"\1*\0", 0), (b"\1\xff\0", 0)):
            server, datagrams = self.serve(alias(target))
            self.assertEqual(await self.ask(server), Found([], {}, exists=True))
            self.assertEqual(datagrams.asked, 1 + times)

    async def test_unknown(self) -> None:
        """That a name does not exist is an answer."""
        server, _ = self.serve(records(flags=0x8183))
        self.assertFalse((await self.ask(server)).exists)

    async def test_twice(self) -> None:
        """A second reply to a question is ignored."""
        server, asked = self.serve(FULL)
        asked.times = 2
        self.assertEqual(len(self.ips(await self.ask(server))), 2)

    async def test_again(self) -> None:
        """A silent server is asked again; a reply to another question is ignored."""
        server, asked = self.serve(silent, FULL)
        self.assertEqual(len(self.ips(await self.ask(server))), 2)
        self.assertEqual(asked.asked, 2)

    async def test_next_server(self) -> None:
        """The next server is asked when one fails, refuses, is silent or does not run."""
        good, _ = self.serve(FULL)
        for reply in (silent, records(flags=0x8182), records(flags=0x8185)):
            server, _ = self.serve(reply)
            self.assertEqual(len(self.ips(await self.ask(server, good))), 2)
        self.assertEqual(len(self.ips(await self.ask(("127.0.0.1", 1), good))), 2)

    async def test_reasons(self) -> None:
        """The reason of a failure is the true one, and names the server."""
        for reply, reason, detail in [
            (silent, "no name server replied", "timeout"),
            (records(flags=0x8182), "the name server failed", "SERVFAIL"),
            (records(flags=0x8181), "the name server does not understand the question", "FORMERR"),
            (records(flags=0x8184), "the name server does not answer such questions", "NOTIMP"),
            (records(flags=0x8189), "the name server cannot answer", "response code 9"),
            (records(count=1), "the answer is malformed", "it ends too early"),
        ]:
            (host, port), asked = self.serve(reply)
            await self.assert_fails(
                f"{reason} when asked for A records ({host}:{port}: {detail})", (host, port)
            )
            self.assertEqual(asked.asked, 2 if reply is silent else 1)

    async def test_refused(self) -> None:
        """A failure tells whether a server refused to answer questions about the name."""
        (host, port), _ = self.serve(records(flags=0x8185))
        await self.assert_fails(
            f"the name server refused when asked for A records ({host}:{port}: REFUSED)",
            (host, port),
            refused=True,
        )

    async def test_not_running(self) -> None:
        """A server that is not running is not waited for."""
        await self.assert_fails(
            "no name server replied when asked for A records (127.0.0.1:1: connection refused)",
            ("127.0.0.1", 1),
        )

    async def test_several(self) -> None:
        """When all servers fail, the reason says how each of them did."""
        (host, port), _ = self.serve(records(flags=0x8182))
        await self.assert_fails(
            "no name server replied when asked for A records"
            f" (127.0.0.1:1: connection refused, {host}:{port}: SERVFAIL)",
            ("127.0.0.1", 1),
            (host, port),
        )

    async def test_unreachable(self) -> None:
        """An error of the system is the reason, whether for the socket or for the server."""

        def fail(*_: object) -> None:
            raise OSError(24, "Too many open files")

        for method in ("connect", "createInternetSocket"):
            self.patch(dns_transport._QuietPort, method, fail)
            await self.assert_fails(
                "no name server can be reached when asked for A records"
                " (127.0.0.1:1: Too many open files)",
                ("127.0.0.1", 1),
            )

    async def test_truncated(self) -> None:
        """An answer that is too long for UDP is asked for over TCP."""
        server, _ = self.serve(PART, tcp=Streams(FULL))
        found = await self.ask(server)
        self.assertEqual((self.ips(found), found.flaw), (["192.0.2.1", "192.0.2.2"], ""))

    async def test_too_long(self) -> None:
        """An answer that is too long for TCP as well gives the records that it has, and says so."""
        server, _ = self.serve(NOTHING, tcp=Streams(PART))
        found = await self.ask(server)
        self.assertEqual(self.ips(found), ["192.0.2.1"])
        self.assertEqual(
            found.flaw, "some records are missing: a DNS message has 65535 bytes at most"
        )

    async def test_no_tcp(self) -> None:
        """When TCP fails, the records that came over UDP are used; without any, that is said."""
        why = "the answer is too long for UDP, and over TCP the name server"
        for tcp, problem, detail in [
            (None, f"{why} refuses the connection", "connection refused"),
            (Streams(silent), f"{why} does not reply", "timeout"),
            (Streams(FULL, close=True), f"{why} closes the connection", "connection closed"),
            (
                Streams(changed(FULL, lambda data: data[:-1])),
                "the answer is malformed",
                "it ends too early",
            ),
        ]:
            (host, port), _ = self.serve(PART, tcp=tcp)
            found = await self.ask((host, port))
            self.assertEqual(self.ips(found), ["192.0.2.1"])
            self.assertEqual(
                found.flaw, f"some records are missing: {problem} ({host}:{port}: {detail})"
            )
            (host, port), _ = self.serve(NOTHING, tcp=tcp)
            await self.assert_fails(
                f"{problem} when asked for A records ({host}:{port}: {detail})", (host, port)
            )

    async def test_no_route(self) -> None:
        """When TCP cannot reach the name server, the reason of the system is given."""

        class Endpoint:
            def __init__(self, *_: object, **__: object) -> None: ...

            def connect(self, _: object) -> Deferred[Any]:
                return fail(NoRouteError())

        self.patch(dns_transport, "TCP4ClientEndpoint", Endpoint)
        (host, port), _ = self.serve(NOTHING)
        await self.assert_fails(
            "the answer is too long for UDP, and over TCP the name server cannot be reached when"
            f" asked for A records ({host}:{port}: No route to host.)",
            (host, port),
        )

    async def test_cancelled(self) -> None:
        """A question that is cancelled leaves nothing behind, and another one gets its turn."""
        server, _ = self.serve(silent)
        names = NameServers(reactor, lambda: (server,))
        asked = [Deferred.fromCoroutine(names.ask("nodes.invalid", A)) for _ in range(70)]
        for one in asked:
            one.cancel()
            await self.assertFailure(one, CancelledError)
        last = Deferred.fromCoroutine(names.ask("nodes.invalid", A))
        await self.assertFailure(last, LookupFailed)

    async def test_unreadable(self) -> None:
        """When the list of servers cannot be read, the lookup fails."""

        def servers() -> Any:
            raise PermissionError(13, "Permission denied")

        names = NameServers(reactor, servers)
        asked = Deferred.fromCoroutine(names.ask("nodes.invalid", A))
        error = await self.assertFailure(asked, LookupFailed)
        self.assertIn("cannot read the list of name servers", str(error))
        self.assertIn("(Permission denied)", str(error))


class SystemServersTests(SynchronousTestCase):
    def test_servers(self) -> None:
        """The system's name servers are those of resolv.conf, or one on this machine."""
        path = Path(self.mktemp())
        self.assertEqual(system_servers(path), [("127.0.0.1", 53)])
        path.write_text("search invalid\nnameserver\nnameserver x\n#nameserver 192.0.2.9\n")
        self.assertEqual(system_servers(path), [("127.0.0.1", 53)])
        path.write_text("nameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\n")
        self.assertEqual(system_servers(path), [("192.0.2.1", 53), ("2001:db8::1", 53)])
