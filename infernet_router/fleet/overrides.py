"""Overrides: the orders of operators that are in force, and those that ended lately."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import evolve

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.fleet import Fleet
from infernet_router.fleet.groups import Tier
from infernet_router.fleet.orders import MAX_VERSION, Order

MAX_OVERRIDES = 10_000
"""The most overrides at a time."""

_KEPT = 7 * 86400.0
"""Seconds for which an order that ended stays known."""

_MOST_ENDED = 10_000
"""The most such orders; of more, the oldest are forgotten."""

_AT_ONCE = 100
"""The most orders that end by themselves in one turn of the reactor: they take a millisecond."""


class Overrides:
    """
    Keeps the last order for each address, and has the fleet follow those in force.

    An order that is given here is made with `ordering` or `ending`, and does nothing until it is
    passed to `apply`: so it can be written to disk in between. Orders that other routers were
    given are passed to `learn`. Each ends by itself, at the time `until` if it has one; while the
    router runs, a clock that is set changes nothing about that.

    :param seconds: the monotonic time, in seconds.
    :param now: the time of day, in seconds since the epoch.
    :param sender: tells the orders given here from others: 16 hexadecimal digits, random.
    """

    def __init__(
        self,
        fleet: Fleet,
        seconds: Callable[[], float],
        now: Callable[[], float],
        sender: str,
    ) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._now = now
        self._sender = sender
        self._in_force: dict[NodeAddress, Order] = {}
        self._ended: dict[NodeAddress, Order] = {}
        """Orders that ended, in the order in which they did here."""
        self._ends: dict[NodeAddress, float] = {}
        """When an order in force ends by itself, on the monotonic clock."""
        self._listeners: list[Callable[[Order], None]] = []
        self._followers: list[Callable[[Sequence[Order]], None]] = []
        self.version = 0
        """The highest version known; 0 without any order."""

    @property
    def in_force(self) -> Mapping[NodeAddress, Order]:
        """The overrides, in the order in which they came into force."""
        return self._in_force

    def known(self, new: Order | None = None) -> list[Order]:
        """
        Every order that is in force, and those that ended within the last 7 days.

        It is what another router has to learn to know as much as this one.

        :param new: an order that was made here, in place of the one for its address.
        """
        oldest = self._now() - _KEPT
        for address, order in list(self._ended.items()):
            if order.ended is None or order.ended < oldest or len(self._ended) > _MOST_ENDED:
                del self._ended[address]
        known = self._in_force | self._ended
        if new is not None:
            known[new.address] = new
        return list(known.values())

    def last(self, address: NodeAddress) -> Order | None:
        """The last order for an address, perhaps one that ended; None if none is known."""
        return self._in_force.get(address) or self._ended.get(address)

    def listen(self, callback: Callable[[Order], None]) -> None:
        """
        Call this with each order that is given or ended here by an operator, once it is in force.

        That is not so for an order that ends by itself, which each router sees on its own, or for
        one that was learned.
        """
        self._listeners.append(callback)

    def follow(self, callback: Callable[[Sequence[Order]], None]) -> None:
        """
        Call this with the orders that were learned, and with none after some ended by themselves:
        of many that end at once, after the last.
        """
        self._followers.append(callback)

    def ordering(
        self,
        address: NodeAddress,
        *,
        drain: bool,
        weight: float | None,
        reason: str,
        by: str,
        seconds: float | None,
    ) -> Order:
        """
        A new order, in place of any other for this address.

        :param seconds: how long it is in force; None for no end.
        """
        now = self._now()
        return Order(
            address=address,
            version=self._next_version,
            sender=self._sender,
            drain=drain,
            weight=weight,
            reason=reason,
            by=by,
            given=now,
            until=None if seconds is None else now + seconds,
        )

    def ending(self, address: NodeAddress, by: str) -> Order:
        """The end of the order for an address."""
        now = self._now()
        return Order(
            address=address,
            version=self._next_version,
            sender=self._sender,
            by=by,
            given=now,
            ended=now,
        )

    def apply(self, order: Order) -> bool:
        """Put an order that was made here into force; returns False if a later one was learned."""
        is_taken = self._take(order)
        if is_taken:
            for listener in self._listeners:
                listener(order)
        return is_taken

    def learn(self, orders: Iterable[Order]) -> list[Order]:
        """
        Take the orders that are newer than what is known of their addresses; returns these.

        The fleet follows them at once. Overrides over the limit of 10,000 are left out.
        """
        taken = [order for order in orders if self._take(order)]
        if taken:
            self._changed(taken)
        return taken

    def expire(self) -> list[Order]:
        """
        End the orders whose time is over, or the first 100 of them; returns them as they were.

        If there are more, `next_end` is not above 0.
        """
        now = self._seconds()
        over = [address for address, end in self._ends.items() if end <= now]
        ended = [self._in_force[address] for address in over[:_AT_ONCE]]
        for order in ended:
            self._set(evolve(order, ended=self._now()))
        if ended and len(ended) == len(over):
            self._changed(())
        return ended

    @property
    def next_end(self) -> float | None:
        """Seconds until the next order ends by itself; None if none does."""
        return min(self._ends.values()) - self._seconds() if self._ends else None

    @property
    def _next_version(self) -> int:
        return min(self.version + 1, MAX_VERSION)

    def _take(self, order: Order) -> bool:
        """Take an order if it is newer than what is known; returns whether it is."""
        address, until = order.address, order.until
        if order.ended is None and until is not None and until <= self._now():
            order = evolve(order, ended=until)
        known = self.last(address)
        if known is not None and order.key <= known.key:
            return False
        if known is None and order.ended is not None and order.ended < self._now() - _KEPT:
            return False  # it would be forgotten at once
        is_more = order.ended is None and address not in self._in_force
        if is_more and len(self._in_force) >= MAX_OVERRIDES:
            return False
        self.version = max(self.version, order.version)
        self._set(order)
        return True

    def _set(self, order: Order) -> None:
        """Make this the order for its address."""
        address = order.address
        self._in_force.pop(address, None)
        self._ended.pop(address, None)
        self._ends.pop(address, None)
        if order.ended is not None:
            self._ended[address] = order
            self._fleet.override(address)
            return
        self._in_force[address] = order
        if order.until is not None:
            self._ends[address] = self._seconds() + order.until - self._now()
        tier = Tier.DRAINED if order.drain else Tier.NORMAL
        self._fleet.override(address, tier, order.weight)

    def _changed(self, learned: Sequence[Order]) -> None:
        for follower in self._followers:
            follower(learned)
