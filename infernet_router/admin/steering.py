"""Steering: makes each change that operators order, once it is checked and on disk."""

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from infernet_router.addresses import NodeAddress
from infernet_router.admin.audit import Audit
from infernet_router.admin.ordering import Wanted
from infernet_router.admin.shown import rfc3339
from infernet_router.admin.state import CannotKeep, State
from infernet_router.counting import Counts
from infernet_router.fleet import MAX_OVERRIDES, Fleet, Order, Overrides
from infernet_router.quoting import quoted
from infernet_router.serving.errors import HTTPError

_MOST_NAMED = 5
"""The most containers that a refusal names."""

_MOST_LOGGED = 20
"""The most orders that were learned at once and have a line of the log each."""

_LONGEST_SLEEP = 3600.0
"""Seconds after which to look for orders whose time is over, in any case."""

_SAVE_AGAIN = 60.0
"""Seconds after which to try again to write what could not be written."""

Value = TypeVar("Value")

log = Logger()


class Steering(Service):
    """
    Changes the overrides, one change after the other, and ends those whose time is over.

    :param state: where they are kept, if anywhere.
    """

    def __init__(
        self,
        fleet: Fleet,
        overrides: Overrides,
        state: State | None,
        audit: Audit,
        counts: Counts,
        clock: IReactorTime,
    ) -> None:
        self.overrides = overrides
        self.audit = audit
        self._fleet = fleet
        self._state = state
        self._counts = counts
        self._clock = clock
        self._lock = DeferredLock()
        self._expiring: IDelayedCall | None = None
        self._saving: IDelayedCall | None = None
        self._is_unsaved = False
        """Whether something could not be written, which was logged."""

    def startService(self) -> None:
        """
        Put the orders on disk into force.

        :raises BadState: when the orders cannot be written to disk any more.
        """
        super().startService()
        if self._state is not None:
            self._state.check()
            self._load(self._state)
        self.overrides.follow(self._followed)
        self._schedule()

    def _load(self, state: State) -> None:
        """Put the orders on disk into force, but for those whose time was over meanwhile."""
        if not state.orders:
            return
        self.overrides.learn(state.orders)
        in_force = self.overrides.in_force
        log.info(
            "{path}: {count} overrides",
            event="override.loaded",
            path=state.path,
            count=len(in_force),
        )
        for order in state.orders:
            if order.ended is None and order.address not in in_force:
                self._expired(order)
                self._save_after(0.0)

    def stopService(self) -> Deferred[None]:
        """Stop once the change that is being made is made."""
        super().stopService()
        for call in (self._expiring, self._saving):
            if call is not None:
                call.cancel()
        self._expiring = self._saving = None
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        async with self._lock:
            await self.audit.stop()
            if self._state is not None:
                self._state.close()

    def override(
        self, address: NodeAddress, wanted: Wanted, name: str, peer: str
    ) -> Deferred[dict[str, Any]]:
        """
        Put an override into force, in place of any other for its address; returns it.

        :param name: who orders it.
        :raises HTTPError: 409 when a container would be without a node, or another router was given
            an order meanwhile; 507 when there is no room.
        """
        return _uninterrupted(self._override(address, wanted, name, peer))

    def end(self, address: NodeAddress, name: str, peer: str) -> Deferred[None]:
        """
        End the override for an address.

        :raises HTTPError: 404 when there is none, 409 when another router was given an order
            meanwhile, 507 when there is no room to write that down.
        """
        return _uninterrupted(self._end(address, name, peer))

    def refused(
        self,
        peer: str,
        verb: str,
        target: str,
        error: HTTPError,
        name: str = "",
        reason: str = "",
    ) -> None:
        """
        Record a request for a change that was not made.

        :param verb: put, delete or other.
        :param target: the address of a node, or the path of the request.
        :param reason: what the operator gave as the reason for the change.
        """
        self._counts.acted(verb, "refused" if error.status < 500 else "failed")
        self.audit.refuse(peer, verb, target, f"{error.status}: {error}", name, reason)

    def shown(self, order: Order) -> dict[str, Any]:
        """An override as operators see it."""
        return {
            "address": str(order.address),
            "drain": order.drain,
            "weight": order.weight,
            "reason": order.reason,
            "by": order.by,
            "given": rfc3339(order.given),
            "until": None if order.until is None else rfc3339(order.until),
            "persisted": self._state is not None,
        }

    def listed(self) -> Iterator[dict[str, Any]]:
        """All overrides as operators see them, newest first."""
        in_force = self.overrides.in_force.values()
        newest = sorted(in_force, key=lambda order: (order.given, order.version), reverse=True)
        return map(self.shown, newest)

    def shown_of(self, address: NodeAddress) -> dict[str, Any] | None:
        """The override for an address, as operators see it; None if there is none."""
        order = self.overrides.in_force.get(address)
        return None if order is None else self.shown(order)

    async def _override(
        self, address: NodeAddress, wanted: Wanted, name: str, peer: str
    ) -> dict[str, Any]:
        async with self._lock:
            order = self.overrides.ordering(
                address,
                drain=wanted.drain,
                weight=wanted.weight,
                reason=wanted.reason,
                by=name,
                seconds=wanted.seconds,
            )
            before = self.shown_of(address)
            with self._auditing_refusals("put", address, name, peer, wanted.reason):
                if before is None and len(self.overrides.in_force) >= MAX_OVERRIDES:
                    raise HTTPError(
                        507, f"there are {MAX_OVERRIDES:,} overrides, which is the limit: end some"
                    )
                if wanted.drain and not wanted.force:
                    self._check_drain(address)
                await self._keep(order)
                self._apply(order)
            self._schedule()
            self._counts.acted("put", "done")
            after = self.shown(order)
            log.info(
                "{name} at {peer} {what}{reason}",
                event="override.set",
                name=name,
                peer=peer,
                what=_words(order),
                node=str(address),
                reason=f": {quoted(order.reason)}" if order.reason else "",
            )
            await self.audit.add(
                "put",
                "done",
                name=name,
                peer=peer,
                address=str(address),
                before=before,
                after=after,
                reason=order.reason,
            )
            return after

    async def _end(self, address: NodeAddress, name: str, peer: str) -> None:
        async with self._lock:
            before = self.shown_of(address)
            if before is None:
                raise HTTPError(404, f"there is no override for {address}")
            order = self.overrides.ending(address, name)
            with self._auditing_refusals("delete", address, name, peer):
                await self._keep(order)
                self._apply(order)
            self._schedule()
            self._counts.acted("delete", "done")
            log.info(
                "{name} at {peer} {what}",
                event="override.ended",
                name=name,
                peer=peer,
                what=_words(order),
                node=str(address),
            )
            await self.audit.add(
                "delete", "done", name=name, peer=peer, address=str(address), before=before
            )

    @contextmanager
    def _auditing_refusals(
        self, verb: str, address: NodeAddress, name: str, peer: str, reason: str = ""
    ) -> Iterator[None]:
        """A context that records why a change in it is refused."""
        try:
            yield
        except HTTPError as error:
            self.refused(peer, verb, str(address), error, name, reason)
            raise

    def _check_drain(self, address: NodeAddress) -> None:
        """
        Refuse a drain that would leave a container without a node that is up.

        :raises HTTPError: 409 that names the containers.
        """
        alone = self._fleet.serves_alone(address)
        if alone:
            named = ", ".join(map(quoted, alone[:_MOST_NAMED]))
            more = f" and {len(alone) - _MOST_NAMED} more" if len(alone) > _MOST_NAMED else ""
            raise HTTPError(
                409,
                f"no up node would be left that runs {named}{more}: force drains it all the same",
            )

    async def _keep(self, order: Order) -> None:
        """
        Write an order to disk, with all others that are known.

        :raises HTTPError: 507 when that fails.
        """
        if self._state is None:
            return
        try:
            await self._state.write(self.overrides.known(order))
        except CannotKeep as error:
            raise HTTPError(507, f"the order is not in force: {error}") from None

    def _apply(self, order: Order) -> None:
        """
        Put an order that is on disk into force.

        :raises HTTPError: 409 when another order was learned meanwhile. Then the next write, which
            is soon, takes this one off the disk again.
        """
        if not self.overrides.apply(order):
            raise HTTPError(
                409,
                "the order is not in force: another router was given orders while it was written;"
                f" look at the override for {order.address}, and order again",
            )

    def _schedule(self) -> None:
        """Have the next override end in time."""
        if not self.running:
            return
        if self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None
        seconds = self.overrides.next_end
        if seconds is not None:
            wait = min(max(seconds, 0.0), _LONGEST_SLEEP)
            self._expiring = self._clock.callLater(wait, self._expire)

    def _expire(self) -> None:
        self._expiring = None
        for order in self.overrides.expire():
            self._expired(order)
        self._schedule()

    def _followed(self, learned: Sequence[Order]) -> None:
        """Orders were learned, or have ended by themselves."""
        for order in learned[:_MOST_LOGGED]:
            log.info(
                "{name} {what}, at another router",
                event="override.learned",
                name=order.by,
                what=_words(order),
                node=str(order.address),
            )
        if more := len(learned[_MOST_LOGGED:]):
            log.info("{more} more overrides were learned", event="override.learned", more=more)
        self._schedule()
        self._save_after(0.0)

    def _save_after(self, seconds: float) -> None:
        """Write all orders to disk after this time."""
        if self.running and self._state is not None and self._saving is None:
            self._saving = self._clock.callLater(seconds, self._save, self._state)

    def _expired(self, order: Order) -> None:
        """Record that the time of an order is over."""
        self._counts.acted("expire", "done")
        node = str(order.address)
        log.info("the override of {node} is over", event="override.expired", node=node)
        self.audit.add("expire", "done", name=order.by, address=node, before=self.shown(order))

    def _save(self, state: State) -> None:
        self._saving = None
        Deferred.fromCoroutine(self._write(state)).addErrback(_bug)

    async def _write(self, state: State) -> None:
        """Write all orders to disk, or try again later."""
        async with self._lock:
            try:
                await state.write(self.overrides.known())
            except CannotKeep as error:
                if not self._is_unsaved:
                    self._is_unsaved = True
                    log.warn("{reason}", event="override.unsaved", reason=str(error))
                self._save_after(_SAVE_AGAIN)
            else:
                self._is_unsaved = False


def _words(order: Order) -> str:
    """What an order does, in words."""
    if order.ended is not None:
        return f"ended the override of {order.address}"
    done = f"drained {order.address}" if order.drain else f"gave {order.address}"
    if order.weight is not None:
        done += f"{' with' if order.drain else ''} weight {order.weight:g}"
    return done if order.until is None else f"{done} until {rfc3339(order.until)}"


def _uninterrupted(change: Coroutine[Any, Any, Value]) -> Deferred[Value]:
    """The result of a change, which goes on when nobody waits for it any more."""
    answer: Deferred[Any] = Deferred()

    def ended(result: object) -> None:
        if not answer.called:
            answer.callback(result)
        elif isinstance(result, Failure) and not result.check(HTTPError):
            _bug(result)

    Deferred.fromCoroutine(change).addBoth(ended)
    return answer


def _bug(failure: Failure) -> None:
    log.failure("an override failed", failure, event="internal.error")
