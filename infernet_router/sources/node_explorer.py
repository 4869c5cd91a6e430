"""The Node Explorer as a source: the nodes it saw within the last hour."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta
from twisted.internet.interfaces import IReactorTime

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.nodes.asking import Asker, NoAnswer, ask
from infernet_router.process import Slices
from infernet_router.quoting import quoted
from infernet_router.sources.asked import Answer
from infernet_router.sources.joining import BadSource

_INTERVAL = 60.0
"""Seconds from an answer to the next request."""

_TIMEOUT = 10.0
"""Seconds for the whole answer."""

_MAX_BYTES = 1024 * 1024
"""The longest answer that is read, in bytes."""

_MAX_NODES = 100_000
_MAX_IP = 45
"""Characters of the longest IP address: IPv6 with an embedded IPv4 address."""


@frozen
class _Entry:
    """One node in the Node Explorer's answer; other keys are ignored."""

    ip: Annotated[str, Meta(max_length=_MAX_IP)]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


@frozen
class _Nodes:
    """The answer to GET /api/nodes. Entries are decoded one by one, as some may be malformed."""

    data: Annotated[list[msgspec.Raw], Meta(max_length=_MAX_NODES)]


_nodes = msgspec.json.Decoder(_Nodes)
_entry = msgspec.json.Decoder(_Entry)
_MALFORMED = (msgspec.DecodeError, ValueError, RecursionError)
"""Raised by msgspec and the parsers of addresses."""


async def ask_explorer(
    http: Asker, explorer: NodeAddress, clock: IReactorTime, slices: Slices
) -> Answer:
    """
    The nodes that a Node Explorer saw within the last hour.

    :raises BadSource: when it does not answer, or lists no nodes.
    """
    url = f"{explorer.url}/api/nodes?minutes_past=60"
    try:
        body = await ask(http, url, clock, _TIMEOUT, _MAX_BYTES)
    except NoAnswer as error:
        raise BadSource(str(error)) from None
    return await decode_nodes(body, slices)


async def decode_nodes(body: bytes, slices: Slices) -> Answer:
    """
    Decode `{"data": [{"ip": …, "port"?: …}]}`; the port defaults to 4000.

    Types are exact. Malformed entries are skipped.

    :raises BadSource: when no entry is valid, or `body` is anything else.
    """
    try:
        entries = _nodes.decode(body).data
    except _MALFORMED as error:
        raise BadSource(f"its list of nodes is malformed: {error}") from None
    addresses: list[NodeAddress] = []
    flaws: list[str] = []
    await slices.take(_decoding(entries, addresses, flaws))
    flaw = ""
    if flaws:
        bad = len(entries) - len(addresses)
        flaw = f"{bad} of {len(entries)} entries are malformed, such as {flaws[0]}"
    if not addresses:
        raise BadSource(flaw or "it lists no nodes")
    return Answer(tuple(addresses), _INTERVAL, flaw)


def _decoding(
    entries: list[msgspec.Raw], addresses: list[NodeAddress], flaws: list[str]
) -> Iterator[None]:
    """Decode entries in steps, and say what is wrong with the first bad one."""
    for raw in entries:
        try:
            addresses.append(_address(_entry.decode(raw)))
        except _MALFORMED as error:
            if not flaws:
                flaws.append(f"{quoted(bytes(raw).decode('utf-8', 'replace'))}: {error}")
        yield


def _address(entry: _Entry) -> NodeAddress:
    """The address of a node: host and port, with an IPv6 address in brackets."""
    ip = ip_address(entry.ip)
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    return parse_address(f"{host}:{entry.port or 4000}")
