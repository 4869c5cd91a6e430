"""Sends a DNS question to one name server over UDP or TCP, and gives its answer."""

from socket import SO_ERROR, SOL_SOCKET
from typing import Any

from twisted.internet import error
from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, connectionDone
from twisted.internet.udp import Port
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure
from twisted.python.log import callWithContext

from infernet_router.sources.dns_messages import MAX_BYTES, Malformed, Message, decode_answer

SILENCE = "no name server replied"

_TCP_TIMEOUT = 10
"""Seconds for a connection, and for an answer over it."""

_SILENT = {"log_format": ""}
"""A logging context in which nothing is logged, as an event without text is not printed."""

Server = tuple[str, int]
"""The IP address and port of a name server."""


class NoAnswer(Exception):
    """
    One name server did not answer; the message says how it failed.

    :param reason: the same in a sentence for an operator; "" when the server may answer if it is
        asked again.
    :param refused: whether it refused to answer questions about this name.
    """

    def __init__(self, detail: str, reason: str = "", *, refused: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.refused = refused


async def ask_over_udp(reactor: Any, server: Server, question: bytes, seconds: float) -> Message:
    """
    The answer of a name server within some seconds.

    :raises NoAnswer: when there is none.
    """
    query = _Datagram(server, question)
    interface = "::" if isIPv6Address(server[0]) else ""
    port = _QuietPort(0, query, interface, MAX_BYTES, reactor)
    try:
        port.startListening()
    except error.CannotListenError as problem:
        raise _system_error(problem.socketError) from None
    try:
        return await query.answered.addTimeout(seconds, reactor)
    except TimedOut:
        raise _malformed(query.malformed) if query.malformed else NoAnswer("timeout") from None
    except OSError as problem:
        raise _system_error(problem) from None
    finally:
        port.stopListening()


async def ask_over_tcp(reactor: Any, server: Server, question: bytes) -> Message:
    """
    The answer of a name server whose answer over UDP is truncated.

    :raises NoAnswer: when there is none.
    """
    kind = TCP6ClientEndpoint if isIPv6Address(server[0]) else TCP4ClientEndpoint
    factory = Factory.forProtocol(_Stream)
    factory.noisy = False
    why = "the answer is too long for UDP, and over TCP the name server "
    try:
        stream: Any = await kind(reactor, *server, timeout=_TCP_TIMEOUT).connect(factory)
        try:
            data = await stream.ask(question).addTimeout(_TCP_TIMEOUT, reactor)
            stream.transport.loseConnection()
        except BaseException:
            stream.transport.abortConnection()
            raise
        return decode_answer(data, question)
    except error.ConnectionRefusedError:
        raise NoAnswer("connection refused", f"{why}refuses the connection") from None
    except (error.TimeoutError, TimedOut):
        raise NoAnswer("timeout", f"{why}does not reply") from None
    except error.ConnectionClosed:
        raise NoAnswer("connection closed", f"{why}closes the connection") from None
    except error.ConnectError as problem:
        raise NoAnswer(str(problem), f"{why}cannot be reached") from None
    except Malformed as problem:
        raise _malformed(str(problem)) from None


class _Datagram(DatagramProtocol):
    """Sends a question to a name server; `answered` fires with the answer."""

    noisy = False

    def __init__(self, server: Server, question: bytes) -> None:
        self.answered: Deferred[Message] = Deferred()
        self.malformed = ""
        """What was wrong with a reply, if any was wrong."""
        self._server = server
        self._question = question

    def startProtocol(self) -> None:
        transport: Any = self.transport
        try:
            transport.connect(*self._server)  # so that no other host can answer
            transport.write(self._question)
        except OSError as problem:
            self._fail(problem)

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Wait on after a malformed reply, which may answer an earlier question."""
        if self.answered.called:
            return
        try:
            self.answered.callback(decode_answer(datagram, self._question))
        except Malformed as problem:
            self.malformed = str(problem)

    def connectionRefused(self) -> None:
        self._fail(NoAnswer("connection refused", SILENCE))

    def _fail(self, problem: Exception) -> None:
        if not self.answered.called:
            self.answered.errback(problem)


class _Stream(Int16StringReceiver):
    """Sends a question to a name server over TCP."""

    _answered: Deferred[bytes] | None = None

    def ask(self, question: bytes) -> Deferred[bytes]:
        """Fires with the next message from the server."""
        self._answered = answered = Deferred[bytes]()
        self.sendString(question)
        return answered

    def stringReceived(self, string: bytes) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.callback(string)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered.errback(error.ConnectionLost())


class _QuietPort(Port):
    """A UDP port, one for each question, that opens and closes without a line in the log."""

    def startListening(self) -> None:
        callWithContext(_SILENT, super().startListening)

    def connectionLost(self, reason: Any = None) -> None:
        """Tell the protocol of an ICMP error, which epoll reports as the end of a connection."""
        failed = self.socket.getsockopt(SOL_SOCKET, SO_ERROR)
        callWithContext(_SILENT, super().connectionLost, reason)
        if failed:
            self.protocol.connectionRefused()


def _malformed(why: str) -> NoAnswer:
    return NoAnswer(why, "the answer is malformed")


def _system_error(problem: OSError) -> NoAnswer:
    return NoAnswer(problem.strerror or type(problem).__name__, "no name server can be reached")
