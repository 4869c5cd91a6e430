"""The link: what a replica needs of the server that carries its messages to the others."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from infernet_router.addresses import NodeAddress


class LinkLost(Exception):
    """There is no link to the server; the message says why."""


class Listener(Protocol):
    """What a link tells; every call is made in the reactor's thread, and none of them raises."""

    def connected(self) -> None:
        """From now on, messages can be published, and those that others publish are heard."""

    def lost(self, reason: str) -> None:
        """
        One of the two does not work. Called before the first connection too, and again whenever the
        reason changes.

        :param reason: why, for an operator, without a secret, in the middle of a sentence:
            "connection refused", "the password is wrong".
        """

    def heard(self, message: bytes) -> None:
        """A message was published to the channel, perhaps by this replica."""


class Link(Protocol):
    """
    A connection to the server, which is made again whenever it is lost.

    It logs nothing when the connection is made or lost: its listener does. Nothing is queued while
    there is no connection.
    """

    def start(self, listener: Listener) -> None:
        """Connect, and tell this listener from now on."""

    def stop(self) -> Deferred[None]:
        """Disconnect, and tell nobody any more; fires when no connection is left."""

    def publish(self, message: bytes) -> Deferred[Any]:
        """
        Publish a message; fires when the server has it.

        It fails at once without a connection, and within some seconds when the server does not take
        it; then the link drops the connection and makes a new one. The caller has at most one in
        flight.
        """

    def read_orders(self) -> Deferred[Mapping[bytes, bytes]]:
        """The whole hash of operators' orders, by node. Fails without a connection."""

    def write_orders(self, orders: Mapping[bytes, bytes]) -> Deferred[Any]:
        """Write these fields of the hash. Fails without a connection."""

    def forget_orders(self, fields: Iterable[bytes]) -> Deferred[Any]:
        """Remove these fields of the hash. Fails without a connection."""


class Orders(Protocol):
    """Keeps operators' orders the same at all replicas, through the hash of the link."""

    @property
    def digest(self) -> int:
        """A digest of the orders that are known here; 0 without any. Batches carry it."""

    def has_told(self, address: NodeAddress) -> bool:
        """Whether there is an order in force for an address, and it is in the hash."""

    def connected(self) -> None:
        """The link is connected: read the hash, and write back what it lacks."""

    def heard(self, digest: int) -> None:
        """Another replica has this digest: read the hash if the digest here is another."""
