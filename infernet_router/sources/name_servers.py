"""Asks the name servers, one after the other, for the DNS records of a name."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import randbits
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import DeferredSemaphore

from infernet_router.quoting import host_port
from infernet_router.sources.dns_messages import (
    MAX_BYTES,
    NO_SUCH_NAME,
    OK,
    TYPES,
    Record,
    encode_question,
)
from infernet_router.sources.dns_transport import (
    SILENCE,
    NoAnswer,
    Server,
    ask_over_tcp,
    ask_over_udp,
)

_PORT = 53
_TIMEOUTS = (1, 2, 4)
"""Seconds to wait for each name server's reply in the first, second and third attempt."""

_AT_ONCE = 32
"""How many questions are asked at the same time; each takes a descriptor."""

_REFUSED = 5
_CODES = {
    1: ("FORMERR", "the name server does not understand the question"),
    2: ("SERVFAIL", "the name server failed"),
    4: ("NOTIMP", "the name server does not answer such questions"),
    _REFUSED: ("REFUSED", "the name server refused"),
}
"""Response codes (RFC 1035, section 4.1.1): the usual name, and what an operator is told."""


class LookupFailed(Exception):
    """
    No name server answered; the message says why.

    :param refused: whether one refused to answer questions about this name.
    """

    def __init__(self, reason: str, rrtype: int, detail: str, *, refused: bool = False) -> None:
        super().__init__(f"{reason} when asked for {TYPES[rrtype]} records ({detail})")
        self.refused = refused


@frozen
class Found:
    """What a name server knows of a name."""

    records: Sequence[Record]
    """The records of the type that was asked for."""
    additional: Mapping[str, Sequence[Record]]
    """More records that the server sent, by the name that has them, in lower case."""
    exists: bool
    """Whether the name exists, perhaps with records of other types only."""
    flaw: str = ""
    """Why some of the records are missing; "" when all are there."""


class NameServers:
    """
    Asks name servers, one after the other until one of them answers.

    A server that gives no reply is asked again, up to three times; one that fails is not.

    :param servers: returns the name servers to ask.
    :param random_id: returns the id of a question, a number of 16 bits.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Callable[[], Sequence[Server]],
        random_id: Callable[[], int] = lambda: randbits(16),
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._random_id = random_id
        self._turns = DeferredSemaphore(_AT_ONCE)

    async def ask(self, name: str, rrtype: int) -> Found:
        """
        The records that a name has of one type.

        :raises LookupFailed: when no name server answers.
        """
        await self._turns.acquire()
        try:
            return await self._ask(name, rrtype)
        finally:
            self._turns.release()

    async def _ask(self, name: str, rrtype: int) -> Found:
        try:
            servers = list(dict.fromkeys(self._servers()))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise LookupFailed("cannot read the list of name servers", rrtype, why) from None
        failures: dict[Server, NoAnswer] = {}
        for seconds in _TIMEOUTS:
            for server in tuple(servers):
                question = encode_question(self._random_id(), name, rrtype)
                try:
                    return await self._ask_server(server, question, rrtype, seconds)
                except NoAnswer as error:
                    failures[server] = error
                    if error.reason:
                        servers.remove(server)
        reasons = [failure.reason for failure in failures.values() if failure.reason]
        raise LookupFailed(
            reasons[0] if reasons else SILENCE,
            rrtype,
            ", ".join(f"{host_port(*server)}: {failure}" for server, failure in failures.items()),
            refused=any(failure.refused for failure in failures.values()),
        )

    async def _ask_server(
        self, server: Server, question: bytes, rrtype: int, seconds: float
    ) -> Found:
        """
        The answer of one server.

        :raises NoAnswer: when there is none.
        """
        message, flaw = await ask_over_udp(self._reactor, server, question, seconds), ""
        if message.truncated:
            try:
                message = await ask_over_tcp(self._reactor, server, question)
            except NoAnswer as error:
                if not message.answers:
                    raise
                flaw = f"some records are missing: {error.reason} ({host_port(*server)}: {error})"
            else:
                if message.truncated:
                    flaw = f"some records are missing: a DNS message has {MAX_BYTES} bytes at most"
        if message.code not in (OK, NO_SUCH_NAME):
            name, reason = _CODES.get(
                message.code, (f"response code {message.code}", "the name server cannot answer")
            )
            raise NoAnswer(name, reason, refused=message.code == _REFUSED)
        records = [record for record in message.answers if record.type == rrtype]
        return Found(records, message.additional, message.code == OK, flaw)


def system_servers(path: Path = Path("/etc/resolv.conf")) -> Sequence[Server]:
    """
    The system's name servers; one on this machine, when none is named.

    :raises OSError: when the file exists and cannot be read.
    """
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        lines = []
    found = (re.match(r"nameserver\s+(\S+)", line) for line in lines)
    hosts = [match[1] for match in found if match]
    servers = [(host, _PORT) for host in hosts if isIPAddress(host) or isIPv6Address(host)]
    return servers or [("127.0.0.1", _PORT)]
