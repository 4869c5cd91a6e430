"""The Node Explorer as a source: which nodes it saw of late."""

from ipaddress import ip_address
from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta
from twisted.internet.interfaces import IReactorTime

from infernet_router.addresses import NodeAddress, parse_address
from infernet_router.asking import Asker, NoAnswer, ask
from infernet_router.quoting import quoted
from infernet_router.sources import Answer, BadSource

_INTERVAL = 60.0
"""Seconds from one answer to the next question."""

_TIMEOUT = 10.0
"""Seconds it has for its whole answer."""

_MAX_BYTES = 1024 * 1024
"""The longest answer that is read, in bytes."""

_MAX_NODES = 100_000
_MAX_IP = 45
"""Characters of the longest IP address: IPv6 with an IPv4 address in it."""


@frozen
class _Entry:
    """One node as the Node Explorer lists it; other keys are passed over."""

    ip: Annotated[str, Meta(max_length=_MAX_IP)]
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


@frozen
class _Nodes:
    """An answer to GET /api/nodes. Entries are read one by one, as some may be bad."""

    data: Annotated[list[msgspec.Raw], Meta(max_length=_MAX_NODES)]


_nodes = msgspec.json.Decoder(_Nodes)
_entry = msgspec.json.Decoder(_Entry)
_NOT_READ = (msgspec.DecodeError, ValueError, RecursionError)
"""What msgspec and the readers of addresses raise."""


async def ask_explorer(http: Asker, explorer: NodeAddress, clock: IReactorTime) -> Answer:
    """
    The nodes that a Node Explorer saw within the last hour.

    :raises BadSource: when it gives no answer, or one that names none.
    """
    url = f"{explorer.url}/api/nodes?minutes_past=60"
    try:
        body = await ask(http, url, clock, _TIMEOUT, _MAX_BYTES)
    except NoAnswer as error:
        raise BadSource(str(error)) from None
    return decode_nodes(body)


def decode_nodes(body: bytes) -> Answer:
    """
    Read `{"data": [{"ip": …, "port"?: …}]}`; the port is 4000 where there is none.

    Types are exact. An entry that is bad is passed over.

    :raises BadSource: when no entry is good, or `body` is anything else.
    """
    try:
        entries = _nodes.decode(body).data
    except _NOT_READ as error:
        raise BadSource(f"it sent no list of nodes: {error}") from None
    addresses: list[NodeAddress] = []
    flaw = ""
    for raw in entries:
        try:
            addresses.append(_address(_entry.decode(raw)))
        except _NOT_READ as error:
            flaw = flaw or f"{quoted(bytes(raw).decode('utf-8', 'replace'))}: {error}"
    if flaw:
        bad = len(entries) - len(addresses)
        flaw = f"{bad} of {len(entries)} entries name no node, such as {flaw}"
    if not addresses:
        raise BadSource(flaw or "it names no node")
    return Answer(tuple(addresses), _INTERVAL, flaw)


def _address(entry: _Entry) -> NodeAddress:
    """The address of a node: host and port, an IPv6 address in brackets."""
    ip = ip_address(entry.ip)
    host = f"[{ip}]" if ip.version == 6 else str(ip)
    return parse_address(f"{host}:{entry.port or 4000}")
