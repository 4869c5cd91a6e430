"""Orders: what an operator ordered last of one address, as a value, and as JSON."""

import re

import msgspec
from attrs import frozen

from infernet_router.addresses import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    BadAddress,
    NodeAddress,
    parse_address,
)

MAX_REASON = 500
"""The most characters of a reason."""

_MAX_NAME = 100
MAX_VERSION = 2**53 - 1
"""The greatest version: the last whole number that every reader of JSON keeps exact."""

_MAX_TIME = 1e11
"""Seconds since the epoch: the year 5138."""

_SENDER = re.compile("[0-9a-f]{16}")


class BadOrder(ValueError):
    """JSON that is not an order; the message says what is wrong."""


@frozen(kw_only=True)
class Order:
    """
    An override of one address, or the end of one.

    Of two orders for an address, the one with the greater `key` is in force. One that was ended
    stays known for a while, so that it is not taken for new when another router still has it.
    Times are in seconds since the epoch.
    """

    address: NodeAddress
    version: int
    """One more than the highest that was known where it was given."""
    sender: str
    """Which router it was given to: 16 hexadecimal digits, random at each start."""
    drain: bool = False
    """Whether the node gets no job."""
    weight: float | None = None
    """The node gets this many times the share of an ordinary node; None for what `ips.txt` says."""
    reason: str = ""
    by: str = ""
    """The name of the operator."""
    given: float = 0.0
    """When it was given."""
    until: float | None = None
    """When it ends by itself."""
    ended: float | None = None
    """When it was ended; None while it is in force."""

    @property
    def key(self) -> tuple[int, str]:
        """What decides which of two orders for an address is the later one."""
        return self.version, self.sender


class _Encoded(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An order in JSON."""

    address: str
    version: int
    sender: str
    drain: bool = False
    weight: float | None = None
    reason: str = ""
    by: str = ""
    given: float = 0.0
    until: float | None = None
    ended: float | None = None


_decoder = msgspec.json.Decoder(_Encoded)
_encoder = msgspec.json.Encoder()


def encode_order(order: Order) -> bytes:
    """An order as a JSON object, on one line."""
    return _encoder.encode(
        _Encoded(
            address=str(order.address),
            version=order.version,
            sender=order.sender,
            drain=order.drain,
            weight=order.weight,
            reason=order.reason,
            by=order.by,
            given=order.given,
            until=order.until,
            ended=order.ended,
        )
    )


def decode_order(content: bytes | msgspec.Raw) -> Order:
    """
    Decode an order.

    :raises BadOrder: when it is malformed, or has fields that only a newer release knows.
    """
    try:
        found = _decoder.decode(content)
        address = parse_address(found.address)
    except BadAddress as error:
        raise BadOrder(f"the address is bad: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrder(str(error)) from None
    if not 0 <= found.version <= MAX_VERSION or not _SENDER.fullmatch(found.sender):
        raise BadOrder("version or sender is out of range")
    if found.weight is not None and not LEAST_WEIGHT <= found.weight <= MOST_WEIGHT:
        raise BadOrder(f"weight is not from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}")
    if len(found.reason) > MAX_REASON or len(found.by) > _MAX_NAME:
        raise BadOrder("reason or by is too long")
    times = (found.given, found.until or 0.0, found.ended or 0.0)
    if not all(0.0 <= time <= _MAX_TIME for time in times):
        raise BadOrder("given, until or ended is out of range")
    return Order(
        address=address,
        version=found.version,
        sender=found.sender,
        drain=found.drain,
        weight=found.weight,
        reason=found.reason,
        by=found.by,
        given=found.given,
        until=found.until,
        ended=found.ended,
    )
