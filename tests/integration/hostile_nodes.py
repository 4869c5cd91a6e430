"""
Hostile nodes, all in one process that runs until it is killed: python hostile_nodes.py COPIES

When all of them listen, it prints a JSON object with the address of each by name, on one line. It
then prints a line for each answer of the flapping node. The certificates of the nodes with TLS are
issued by an authority whose own certificate is written to `authority.pem`.
"""

import gzip
import json
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import cycle
from selectors import EVENT_READ, DefaultSelector
from threading import Thread
from typing import cast

import trustme
from attrs import frozen

AUTHORITY = "authority.pem"
"""The file with the certificate to trust."""

TIMEOUT = 6
"""The timeout, in seconds, with which the reasons below are right."""

HEAD = b"HTTP/1.1 200 OK\r\n"
REPORT = (
    b'{"containers":[{"id":"llm","external":true}],"pending":{"offchain":0,"onchain":0},'
    b'"version":"1.4.0"}'
)
"""A valid report: a node is handed out if its answer is mistaken for this one."""

DEEP = "the report is nested too deeply" if sys.version_info < (3, 14) else None
"""From 3.14 on, Python bounds the depth by its stack, which has room for any report."""

ODD_REPORT = REPORT.replace(b"llm", b"odd")

FORGED = "1.4.0\r\n2026-01-01T00:00:00+0000 [-] 127.0.0.1:1 is up\x1b[2J\u202e\x85\u2028<b>"
"""It breaks lines, moves the cursor, reverses text, or is HTML, wherever it is shown unescaped."""

Play = Callable[[socket.socket], None]
"""What a node does with an accepted connection, which is closed when it returns."""


def receive(connection: socket.socket) -> bytes:
    """Read one request; empty at the end of the connection."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            return b""
        request += received
    return request


def http(body: bytes, head: bytes = HEAD) -> bytes:
    """A response with this body."""
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


def status(code: int, headers: bytes = b"") -> bytes:
    """A response with this status."""
    return http(b"<h1>no</h1>", b"HTTP/1.1 %d No\r\n" % code + headers)


def pending(offchain: bytes) -> bytes:
    """A response with this number of offchain jobs."""
    return http(REPORT.replace(b'"offchain":0', b'"offchain":' + offchain))


def container(id: bytes) -> bytes:
    """A response with this container id."""
    return http(REPORT.replace(b"llm", id))


def containers(count: int) -> bytes:
    """A response that lists the same container this many times."""
    entries = b",".join([b'{"id":"llm","external":true}'] * count)
    return http(b'{"containers":[%s],"pending":{"offchain":0,"onchain":0}}' % entries)


def says(*parts: bytes, again: bytes = b"", every: float = 0.0, closes: bool = False) -> Play:
    """
    Sends these parts in response to every request, a moment apart.

    :param again: what it sends after them, repeatedly and without end.
    :param every: seconds between repetitions.
    :param closes: whether it closes the connection after the parts.
    """

    def play(connection: socket.socket) -> None:
        while receive(connection):
            for part in parts:
                connection.sendall(part)
                time.sleep(0.001)
            while again:
                connection.sendall(again)
                time.sleep(every)
            if closes:
                return

    return play


def hangs(connection: socket.socket) -> None:
    """Never responds."""
    while connection.recv(4096):
        pass


def resets(connection: socket.socket) -> None:
    """Resets the connection in the middle of the body, like a process that crashes."""
    receive(connection)
    connection.sendall(HEAD + b"content-length: 999\r\n\r\n{")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def early(answer: bytes) -> Play:
    """Responds before the request."""

    def play(connection: socket.socket) -> None:
        connection.sendall(answer)
        hangs(connection)

    return play


def never_ends(connection: socket.socket) -> None:
    """Responds, and never closes its side of the connection."""
    receive(connection)
    connection.sendall(http(ODD_REPORT, HEAD + b"connection: close\r\n"))
    time.sleep(60)


def talkative(connection: socket.socket) -> None:
    """Responds twice to each request."""
    while receive(connection):
        connection.sendall(http(ODD_REPORT))
        time.sleep(0.05)
        connection.sendall(http(ODD_REPORT))


def forger(connection: socket.socket) -> None:
    """Sends texts that would forge a log line, a header or a page, wherever a text can be sent."""
    text = FORGED.encode()
    odd = {"id": "odd" + FORGED, "external": True, "description": FORGED}
    report = {"containers": [odd], "pending": {"offchain": 0, "onchain": 0}, "version": FORGED}
    while request := receive(connection):
        if b"model_id" in request:
            answer: object = {"odd" + FORGED: {"supported": True, "error": FORGED}}
        elif b"/resources" in request:
            answer = {"odd" + FORGED: {FORGED: FORGED}}
        else:
            answer = report
        head = b"HTTP/1.1 200 %s\r\nserver: %s\r\n" % (text[-6:], text[-6:])
        connection.sendall(http(json.dumps(answer).encode(), head))


def surrogates(connection: socket.socket) -> None:
    """Sends halves of surrogate pairs, except where that makes the node go down."""
    while request := receive(connection):
        half = b'{"odd":{"supported":true,"error":"\\ud800"}}'
        connection.sendall(http(half if b"/resources" in request else ODD_REPORT))


def twice(connection: socket.socket) -> None:
    """Sends every key twice."""
    key = b'{"odd":{"supported":false},"odd":{"supported":true,"supported":true}}'
    report = b'{"containers":[],"pending":{"offchain":9,"onchain":9},' + ODD_REPORT[1:]
    while request := receive(connection):
        connection.sendall(http(key if b"/resources" in request else report))


def flaps() -> Play:
    """Sends a valid report and an error in turn, and prints a line for each."""
    answers = cycle((http(REPORT.replace(b"llm", b"flapping")), status(500)))

    def play(connection: socket.socket) -> None:
        while request := receive(connection):
            if b"/info" in request:
                connection.sendall(next(answers))
                print(FLAPPING, flush=True)
            else:
                connection.sendall(status(404))

    return play


@frozen
class Node:
    """
    One node.

    :param reason: why it is down, in the router's log; empty if it should be up.
    """

    play: Play = hangs
    reason: str = ""
    certificate: Callable[[trustme.CA], trustme.LeafCert] | None = None
    """Makes the certificate of a node with TLS."""
    listens: bool = True
    accepts: bool = True
    """Whether it accepts connections; if not, they wait, and its backlog is full."""


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    return authority.issue_cert(
        "127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday
    )


def _self_signed(_: trustme.CA) -> trustme.LeafCert:
    itself = trustme.CA()
    return trustme.LeafCert(itself.private_key_pem.bytes(), itself.cert_pem.bytes(), [])


def _trusted(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


NOT_HTTP = "the answer is not HTTP"
BAD_CHUNKS = f"{NOT_HTTP} (_MalformedChunkedDataError)"
LATE = f"timeout after {TIMEOUT} s"
LONG_HEAD = "its headers are longer than 8 KiB"
TOO_LARGE = "its answer is larger than 128 KiB"
TINY = "its answer comes in more than 1000 chunks"
CUT = "it closed the connection before the answer was complete"
NOT_JSON = "the report is not JSON: JSON is malformed: "
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
REDIRECTED = " (redirects are not followed)"
GOOD = says(http(REPORT))

BAD = {
    "refuses": Node(reason="connection refused", listens=False),
    "full backlog": Node(reason=LATE, accepts=False),
    "hangs after accepting": Node(hangs, LATE),
    "hangs in the headers": Node(says(HEAD + b"content-le"), LATE),
    "hangs in the body": Node(says(http(REPORT)[:-1]), LATE),
    "a byte a second": Node(says(HEAD, b"content-length: 999\r\n\r\n", again=b" ", every=1), LATE),
    "endless headers": Node(says(HEAD, again=b"x: y\r\n" * 1000), LONG_HEAD),
    "endless header": Node(says(HEAD, b"x: ", again=b"y" * 9999), LONG_HEAD),
    "101 headers": Node(
        says(http(REPORT, HEAD + b"x:\r\n" * 100)), "it sent more than 100 headers"
    ),
    "endless body": Node(says(HEAD, b"\r\n", again=b" " * 9999), TOO_LARGE),
    "endless chunks": Node(says(CHUNKED, again=b"2710\r\n" + b" " * 10000 + b"\r\n"), TOO_LARGE),
    "endless chunk": Node(says(CHUNKED, b"7fffffff\r\n", again=b" " * 9999), TOO_LARGE),
    "tiny chunks": Node(says(CHUNKED, again=b"1\r\n \r\n" * 1000), TINY),
    "endless chunk extensions": Node(
        says(CHUNKED, again=(b"1;" + b"x" * 999 + b"\r\n \r\n") * 9), TINY
    ),
    "endless trailers": Node(says(CHUNKED, b"0\r\n", again=b"x: y\r\n" * 1000), BAD_CHUNKS),
    "chunked garbage": Node(says(CHUNKED, b"\xffzz\r\n"), BAD_CHUNKS),
    "2 GB": Node(says(HEAD + b"content-length: 2000000000\r\n\r\n", again=b" " * 9999), TOO_LARGE),
    "nonsense length": Node(says(HEAD + b"content-length: -5\r\n\r\n"), f"{NOT_HTTP} (ValueError)"),
    "gzip bomb": Node(
        says(http(gzip.compress(bytes(50_000_000), 1), HEAD + b"content-encoding: gzip\r\n")),
        "it sent a compressed answer, which was not asked for",
    ),
    "deep nesting": Node(
        says(http(b'{"x":' + b"[" * 100_000)),
        DEEP or "the report is not JSON: Input data was truncated",
    ),
    "deep pending": Node(
        says(pending(b"[" * 100_000)),
        DEEP or "the report is not JSON: JSON is malformed: invalid character (byte 100067)",
    ),
    "a million containers": Node(says(containers(1_000_000)), TOO_LARGE),
    "an id 10,000 times": Node(says(containers(10_000)), TOO_LARGE),
    "an id 4,000 times": Node(says(containers(4_000)), "containers has more than 1000 entries"),
    "an id of 1 MB": Node(says(container(b"x" * 1_000_000)), TOO_LARGE),
    "an id of 100 KB": Node(
        says(container(b"x" * 100_000)), "containers[0].id has more than 256 characters"
    ),
    "negative": Node(says(pending(b"-1")), "pending.offchain is negative"),
    "float": Node(says(pending(b"1.0")), "pending.offchain is not a whole number"),
    "1e999": Node(says(pending(b"1e999")), "pending.offchain is not a whole number"),
    "string": Node(says(pending(b'"1"')), "pending.offchain is not a number"),
    "bool": Node(says(pending(b"true")), "pending.offchain is not a number"),
    "2^63": Node(says(pending(b"%d" % 2**63)), "pending.offchain is more than 1000000"),
    "100 KB of digits": Node(
        says(pending(b"9" * 100_000)), "pending.offchain is more than 1000000"
    ),
    "no count": Node(
        says(http(REPORT.replace(b'"offchain":0,', b""))), "pending.offchain is missing"
    ),
    "no pending": Node(says(http(b'{"containers":[]}')), "pending is missing"),
    "forged kind": Node(
        says(http(REPORT.replace(b'"onchain":0', b'"onchain":0,"a\\nb\\u001b[2J\\u202e<b>":-1'))),
        r"pending['a\nb\x1b[2J\u202e<b>'] is negative",
    ),
    "invalid UTF-8": Node(says(container(b"llm\xff")), "the report is not UTF-8"),
    "invalid UTF-8 elsewhere": Node(
        says(http(b'{"x":"\xed\xa0\x80",' + REPORT[1:])), "the report is not UTF-8"
    ),
    "first half of a character": Node(
        says(container(b"\\ud800")),
        NOT_JSON + "unexpected end of escaped utf-16 surrogate pair (byte 28)",
    ),
    "second half of a character": Node(
        says(container(b"\\udc00")), NOT_JSON + "invalid utf-16 surrogate pair (byte 28)"
    ),
    "raw line break": Node(says(container(b"llm\n")), NOT_JSON + "invalid character (byte 25)"),
    "duplicate keys": Node(
        says(http(REPORT.replace(b'"onchain":0', b'"onchain":0,"onchain":-1'))),
        "pending.onchain is negative",
    ),
    "HTML": Node(says(http(b"<!doctype html>")), NOT_JSON + "invalid character (byte 0)"),
    "empty": Node(says(http(b"")), "the report is not JSON: Input data was truncated"),
    "redirect to itself": Node(says(status(301, b"location: /info\r\n")), f"HTTP 301{REDIRECTED}"),
    "redirect to others": Node(
        says(status(307, b"location: http://127.0.0.1:1/info\r\n")), f"HTTP 307{REDIRECTED}"
    ),
    "interim answers": Node(
        says(again=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        "it sent an interim answer (1xx), which was not asked for",
    ),
    "no content": Node(says(b"HTTP/1.1 204 No\r\n\r\n"), "HTTP 204"),
    "401": Node(says(status(401, b"www-authenticate: Basic realm=x\r\n")), "HTTP 401"),
    "404": Node(says(status(404)), "HTTP 404"),
    "500": Node(says(status(500)), "HTTP 500"),
    "503": Node(says(status(503, b"retry-after: 99999999999\r\n")), "HTTP 503"),
    "status 9999": Node(says(b"HTTP/1.1 9999 OK\r\n\r\n"), NOT_HTTP),
    "HTTP/0.9": Node(says(REPORT, closes=True), NOT_HTTP),
    "HTTP/2": Node(says(b"\0\0\x12\4\0\0\0\0\0" + bytes(18)), NOT_HTTP),
    "SSH": Node(says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), NOT_HTTP),
    "closes at once": Node(lambda connection: None, CUT),
    "closes in the headers": Node(says(HEAD + b"content-le", closes=True), CUT),
    "closes in the body": Node(says(http(REPORT)[:-1], closes=True), CUT),
    "resets in the body": Node(resets, CUT),
    "answers early": Node(early(b"?"), NOT_HTTP),
    "certificate for another name": Node(
        GOOD,
        "the certificate is not for this host",
        lambda authority: authority.issue_cert("node.invalid"),
    ),
    "expired certificate": Node(
        GOOD, "the certificate is not trusted: certificate has expired", _expired
    ),
    "certificate of an unknown authority": Node(
        GOOD,
        "the certificate is not trusted: an intermediate certificate is missing, or the authority"
        " that issued it is not known (unable to get local issuer certificate)",
        lambda _: _trusted(trustme.CA()),
    ),
    "self-signed certificate": Node(
        GOOD, "the certificate is not trusted: self-signed certificate", _self_signed
    ),
    "hangs in the body, over TLS": Node(says(http(REPORT)[:-1]), LATE, _trusted),
}
"""By name, the nodes that should be down."""

ODD = {
    "answers early, and right": Node(early(http(ODD_REPORT, HEAD + b"connection: close\r\n"))),
    "talkative": Node(talkative),
    "forger": Node(forger),
    "surrogates": Node(surrogates),
    "twice": Node(twice),
    "never ends TLS": Node(never_ends, certificate=_trusted),
}
"""By name, the nodes that should be up, because what they do is harmless."""

LIMITED = {
    "429": Node(says(status(429, b"retry-after: -1e999, \xff\r\n"))),
    "429 for a day": Node(says(status(429, b"retry-after: 86400\r\nratelimit: r=0;t=99\r\n"))),
}
"""By name, the nodes that should stay unknown."""

FLAPPING = "flapping"

NODES = BAD | ODD | LIMITED | {FLAPPING: Node(flaps())}


def listen(node: Node, authority: trustme.CA) -> tuple[str, socket.socket, ssl.SSLContext | None]:
    """Make the socket of a node; returns its address, the socket, and its TLS context, if any."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    if node.listens:
        listening.listen(100 if node.accepts else 0)
    if not node.accepts:
        FILLING.extend(fill(listening.getsockname()))
    if node.certificate is None:
        return address, listening, None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    node.certificate(authority).configure_cert(tls)
    return f"https://{address}", listening, tls


FILLING: list[socket.socket] = []
"""Connections that fill the backlogs of nodes that do not accept any."""


def fill(address: tuple[str, int]) -> Iterator[socket.socket]:
    for _ in range(8):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(address)
        yield connection


def talk(connection: socket.socket, node: Node, tls: ssl.SSLContext | None) -> None:
    """Play the node's part until the router closes the connection."""
    with connection, suppress(OSError):
        if tls is None:
            node.play(connection)
        else:
            with tls.wrap_socket(connection, server_side=True) as wrapped:
                node.play(wrapped)


def main(copies: int) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(AUTHORITY)
    addresses = {}
    accepting = DefaultSelector()
    for copy in range(copies):
        for name, node in NODES.items():
            address, listening, tls = listen(node, authority)
            addresses[f"{name} {copy}" if copy else name] = address
            if node.listens and node.accepts:
                accepting.register(listening, EVENT_READ, (node, tls))
            else:
                FILLING.append(listening)
    print(json.dumps(addresses), flush=True)
    while True:
        for key, _ in accepting.select():
            connection, _ = cast(socket.socket, key.fileobj).accept()
            Thread(target=talk, args=(connection, *key.data), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
