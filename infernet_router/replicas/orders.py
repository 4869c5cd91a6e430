"""Keeps the orders of operators the same at all replicas, through a hash in Redis."""

from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import blake2b
from math import inf
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import BadOrder, Order, Overrides, decode_order, encode_order
from infernet_router.replicas.link import Link, LinkLost

_AT_ONCE = 100
"""Orders that are worked on in one turn of the reactor, which takes 2 ms."""

_FIRST_WAIT, _LAST_WAIT = 1.0, 60.0
"""Seconds between two readings of the hash, and at most. When a reading for the digest of another
replica changed nothing, the next for the same digest waits twice as long."""

_MOST_WAITS = 100
"""The most digests for which such a wait is kept."""

_KEPT = 8 * 86400.0
"""Seconds for which the hash keeps an order that ended: longer than any replica does."""

Item = TypeVar("Item")

log = Logger()


class SharedOrders:
    """
    Reads the hash when another replica knows other orders, and writes what it lacks.

    The hash has the last order of each address, by the address. Nothing depends on it: after a
    flush, the replicas write it again.

    :param now: the time of day, in seconds since the epoch.
    """

    def __init__(
        self, overrides: Overrides, link: Link, reactor: Any, now: Callable[[], float]
    ) -> None:
        self._overrides = overrides
        self._link = link
        self._reactor = reactor
        self._now = now
        self._digest = 0
        self._digests: dict[NodeAddress, int] = {}
        """What the digest of all is made of: that of each order."""
        self._is_reading = False
        self._waits: dict[int, float] = {}
        """By digest of another replica, the seconds after a reading until the next one for it."""
        self._read_at = -inf
        """When the hash was read last."""
        self._complaint = ""
        overrides.listen(lambda order: self._begin(self._give(order)))

    @property
    def digest(self) -> int:
        """
        A digest of the orders that are known here and in the hash; 0 without any.

        Two replicas with the same one know the same orders.
        """
        return self._digest

    def has_told(self, address: NodeAddress) -> bool:
        """Whether there is an order in force for an address, and it is in the hash."""
        order = self._overrides.in_force.get(address)
        return order is not None and self._digests.get(address) == _digest_of(order)

    def connected(self) -> None:
        """The link is there: read the hash, and write what it lacks."""
        self._waits.clear()
        self._read()

    def heard(self, digest: int) -> None:
        """Another replica has this digest."""
        if digest == self._digest or self._is_reading:
            return
        wait = self._waits.get(digest, _FIRST_WAIT)
        if self._reactor.seconds() >= self._read_at + wait:
            if len(self._waits) >= _MOST_WAITS:
                self._waits.clear()
            self._waits[digest] = min(_LAST_WAIT, 2 * wait)
            self._read()

    def _read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._read_at = self._reactor.seconds()
            self._begin(self._reconcile())

    def _begin(self, work: Any) -> None:
        Deferred.fromCoroutine(work).addErrback(
            lambda failure: log.failure("orders of operators", failure, event="internal.error")
        )

    async def _give(self, order: Order) -> None:
        """Write an order that was given here."""
        try:
            await self._write([order])
        except LinkLost as lost:
            self._complain(str(lost))

    async def _reconcile(self) -> None:
        """Take what is newer in the hash, and write what is newer here."""
        try:
            fields = await self._link.read_orders()
            there = await self._learn(fields)
            async for orders in self._parts(self._overrides.known()):
                last = self._last(orders)
                await self._write([order for order in last if _is_lacking(order, fields, there)])
                self._note(last)
            for address in self._digests.keys() - {o.address for o in self._overrides.known()}:
                self._digest ^= self._digests.pop(address)
            await self._forget(list(there.values()))
        except LinkLost as lost:
            self._complain(str(lost))
        finally:
            self._is_reading = False

    async def _learn(self, fields: Mapping[bytes, bytes]) -> Mapping[NodeAddress, Order]:
        """Take what is newer in the hash; returns all orders there, by address."""
        there: dict[NodeAddress, Order] = {}
        async for contents in self._parts(list(fields.values())):
            orders = [order for order in map(_decoded, contents) if order]
            there.update((order.address, order) for order in orders)
            if self._overrides.learn(order for order in orders if not self._is_old(order)):
                self._waits.clear()
        bad = len(fields) - len(there)
        self._complain(f"{bad} in Redis are malformed, or of a newer release" if bad else "")
        return there

    async def _parts(self, items: list[Item]) -> AsyncIterator[list[Item]]:
        """All items, some in each turn of the reactor."""
        for start in range(0, len(items), _AT_ONCE):
            yield items[start : start + _AT_ONCE]
            await deferLater(self._reactor, 0)

    async def _write(self, orders: list[Order]) -> None:
        """
        Write orders to the hash; then the digest has them.

        :raises LinkLost: when that fails.
        """
        if orders:
            await self._link.write_orders({_field(order): encode_order(order) for order in orders})
            self._note(orders)

    def _last(self, orders: list[Order]) -> list[Order]:
        """Those that are still the last for their address: others may be given at any time."""
        lasts = [self._overrides.last(order.address) for order in orders]
        return [o for o, last in zip(orders, lasts, strict=True) if last and last.key == o.key]

    def _note(self, orders: list[Order]) -> None:
        """Have these orders, which are in the hash, in the digest, unless later ones came."""
        for order in self._last(orders):
            digest = _digest_of(order)
            self._digest ^= self._digests.get(order.address, 0) ^ digest
            self._digests[order.address] = digest

    async def _forget(self, orders: list[Order]) -> None:
        """
        Remove those from the hash that every replica has forgotten.

        :raises LinkLost: when that fails.
        """
        if old := [_field(order) for order in orders if self._is_old(order)]:
            await self._link.forget_orders(old)

    def _is_old(self, order: Order) -> bool:
        """Whether an order ended so long ago that no replica knows it any more."""
        end = order.until if order.ended is None else order.ended
        return end is not None and end < self._now() - _KEPT

    def _complain(self, why: str) -> None:
        """Log why orders are not shared, unless that was the case before; "" if they are."""
        was, self._complaint = self._complaint, why
        if why not in ("", was):
            log.warn("orders of operators are not shared: {why}", event="override.apart", why=why)


def _is_lacking(
    order: Order, fields: Mapping[bytes, bytes], there: Mapping[NodeAddress, Order]
) -> bool:
    """Whether the hash lacks an order; one that only a newer release can read is not replaced."""
    if order.address in there:
        return there[order.address].key < order.key
    return _field(order) not in fields


def _decoded(content: bytes) -> Order | None:
    try:
        return decode_order(content)
    except BadOrder:
        return None


def _field(order: Order) -> bytes:
    return str(order.address).encode()


def _digest_of(order: Order) -> int:
    """63 bits that stand for an order."""
    text = f"{order.address} {order.version} {order.sender}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1
