"""A server in memory that carries messages between replicas, for tests and simulations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime

from infernet_router.replicas.link import Link, LinkLost, Listener

_PATIENCE = 2.0
"""Seconds after which a message fails that does not arrive at the server."""


class Hub:
    """
    Delivers what is published on a link to all links.

    :param clock: delays messages.
    :param delay: returns the seconds that the next message takes to one of the links.
    """

    def __init__(self, clock: IReactorTime, delay: Callable[[], float] = lambda: 0.001) -> None:
        self.clock = clock
        self.delay = delay
        self.links: list[HubLink] = []
        self.is_up = True
        self.messages: list[bytes] = []
        """What was published, while it is kept."""
        self.keeps = False
        self.orders: dict[bytes, bytes] = {}

    def link(self) -> "HubLink":
        """A new link."""
        link = HubLink(self)
        self.links.append(link)
        return link

    def stop(self, reason: str = "connection refused") -> None:
        """Lose all connections."""
        self.is_up = False
        for link in self.links:
            link.lose(reason)

    def start(self) -> None:
        """Take connections again, and make them at once."""
        self.is_up = True
        for link in self.links:
            link.connect()

    def carry(self, message: bytes) -> None:
        """Deliver a message to all links that hear."""
        if self.keeps:
            self.messages.append(message)
        for link in self.links:
            if link.is_connected and not link.is_deaf:
                self.clock.callLater(self.delay(), link.deliver, message)


class HubLink(Link):
    """A link to a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._listener: Listener | None = None
        self.is_connected = False
        self.is_deaf = False
        """Whether nothing is delivered to it."""
        self.is_mute = False
        """Whether what it publishes reaches nobody."""
        self.is_stuck = False
        """Whether what it publishes never arrives at the server."""

    def start(self, listener: Listener) -> None:
        self._listener = listener
        self.connect()

    def stop(self) -> Deferred[None]:
        self._listener, self.is_connected = None, False
        return succeed(None)

    def publish(self, message: bytes) -> Deferred[Any]:
        if not self.is_connected:
            return fail(LinkLost("there is no connection"))
        if self.is_stuck:
            stuck: Deferred[Any] = Deferred()
            return stuck.addTimeout(_PATIENCE, self._hub.clock)
        if not self.is_mute:
            self._hub.carry(message)
        return succeed(None)

    def read_orders(self) -> Deferred[Mapping[bytes, bytes]]:
        return succeed(dict(self._hub.orders))

    def write_orders(self, orders: Mapping[bytes, bytes]) -> Deferred[Any]:
        self._hub.orders.update(orders)
        return succeed(None)

    def forget_orders(self, fields: Iterable[bytes]) -> Deferred[Any]:
        for field in fields:
            self._hub.orders.pop(field, None)
        return succeed(None)

    def connect(self) -> None:
        """Connect, if the hub is there."""
        if self._hub.is_up and self._listener is not None and not self.is_connected:
            self.is_connected = True
            self._listener.connected()

    def lose(self, reason: str) -> None:
        """Lose the connection."""
        self.is_connected = False
        if self._listener is not None:
            self._listener.lost(reason)

    def deliver(self, message: bytes) -> None:
        """Deliver a message, if somebody still listens."""
        if self._listener is not None and self.is_connected:
            self._listener.heard(message)
