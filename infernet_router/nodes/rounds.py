"""Rounds: asks every node of a fleet again and again, within limits on rate and concurrency."""

from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Event, Fleet
from infernet_router.nodes.schedule import Schedule

TICK = 0.1
"""Seconds between ticks, at which due nodes are asked, unless a subclass changes that."""

_UNLIMITED = 1e9

log = Logger()

Item = TypeVar("Item", bound=Hashable)


class Throttle(Generic[Item]):
    """
    Asks items when they are due, at a limited rate and with limited concurrency.

    When both kinds are due, urgent items and others alternate, so that urgent ones cannot keep the
    others waiting forever.

    :param ask: asks an item; its Deferred fires when that has ended, and is cancelled to stop it.
    :param at_once: the most items that are asked at the same time.
    :param rate: the most items that are asked in a second.
    :param burst: seconds' worth of items that may be asked at once after a pause.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ask: Callable[[Item, float], Deferred[Any]],
        *,
        at_once: int,
        rate: float = _UNLIMITED,
        burst: float = TICK,
    ) -> None:
        self._clock = clock
        self._ask = ask
        self._at_once = at_once
        self._rate = rate
        self._most_allowed = max(1.0, rate * burst)
        self._allowance = self._most_allowed
        self._allowed_at = clock.seconds()
        """When the allowance was last increased."""
        self._waiting = Schedule[Item]()
        self._urgent = Schedule[Item]()
        self._urgent_is_next = True
        self._asked: set[Deferred[Any]] = set()
        self._is_asking = False

    def put(self, item: Item, due: float, *, urgent: bool = False) -> None:
        """Schedule an item; it may be scheduled as urgent too, at another time."""
        (self._urgent if urgent else self._waiting).put(item, due)

    def drop(self, item: Item) -> None:
        """Remove an item, if it is scheduled."""
        self._waiting.drop(item)
        self._urgent.drop(item)

    def is_waiting(self, item: Item) -> bool:
        """Whether an item waits to be asked."""
        return item in self._waiting or item in self._urgent

    def ask_due(self) -> None:
        """Ask as many of the items that are due as the limits allow."""
        if self._is_asking:
            return  # called by _ended() while ask() runs: the loop below asks the next item
        self._is_asking = True
        try:
            now = self._clock.seconds()
            more = (now - self._allowed_at) * self._rate
            self._allowance = min(self._allowance + more, self._most_allowed)
            self._allowed_at = now
            while self._allowance >= 1 and len(self._asked) < self._at_once:
                item = self._next_due(now)
                if item is None:
                    break
                self.drop(item)
                self._allowance -= 1
                asked = self._ask(item, now)
                self._asked.add(asked)
                asked.addErrback(lambda failure: log.failure("asking a node broke", failure))
                asked.addBoth(self._ended, asked)
        finally:
            self._is_asking = False

    def stop(self) -> Deferred[Any]:
        """Cancel what is in flight, and ask nothing more; fires when everything has ended."""
        self._at_once = 0
        asked = tuple(self._asked)
        for each in asked:
            each.cancel()
        return DeferredList(asked)

    def _next_due(self, now: float) -> Item | None:
        urgent, other = self._urgent.first(now), self._waiting.first(now)
        is_urgent = urgent is not None and (self._urgent_is_next or other is None)
        self._urgent_is_next = not is_urgent
        return urgent if is_urgent else other

    def _ended(self, _: object, asked: Deferred[Any]) -> None:
        was_full = len(self._asked) == self._at_once
        self._asked.remove(asked)
        if was_full:
            self.ask_due()


class Turn:
    """When one node is asked; subclasses add what they know of it."""

    __slots__ = ("address",)

    def __init__(self, address: NodeAddress) -> None:
        self.address = address


SomeTurn = TypeVar("SomeTurn", bound=Turn)


class Rounds(Service, Generic[SomeTurn]):
    """
    A service that asks all nodes of a fleet the same question, again and again.

    It follows the fleet, and keeps a turn for each node; a subclass schedules the turns with
    `throttle.put`, and asks. A fleet with more nodes than may be asked in an interval has a longer
    interval.

    :param interval: seconds from one question to a node to the next, at least.
    :param rate: the most nodes that are asked in a second.
    :param at_once: the most nodes that are asked at the same time.
    :param burst: seconds' worth of questions that may be asked at once after a pause.
    """

    def __init__(
        self,
        fleet: Fleet,
        clock: IReactorTime,
        *,
        interval: float,
        rate: float,
        at_once: int,
        burst: float = TICK,
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._least_interval = interval
        self._rate = rate
        self._at_once = at_once
        self._burst = burst
        self._turns: dict[NodeAddress, SomeTurn] = {}
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)

    @abstractmethod
    def new_turn(self, address: NodeAddress) -> SomeTurn:
        """Make the turn of a new node."""

    @abstractmethod
    def ask(self, turn: SomeTurn, now: float) -> Deferred[Any]:
        """Ask a node, and schedule its next turn whether or not it answers."""

    def added(self, turns: list[SomeTurn], now: float) -> None:
        """Called with the new nodes that are still in the fleet."""

    def changed(self, turn: SomeTurn, event: Event, now: float) -> None:
        """Called when a node came up or went down."""

    def ticked(self, now: float) -> None:
        """Called in each tick after the changes of the fleet, before due nodes are asked."""

    def startService(self) -> None:
        super().startService()
        self._turns = {}
        self.throttle = Throttle(
            self._clock, self.ask, at_once=self._at_once, rate=self._rate, burst=self._burst
        )
        self._changes = self._fleet.follow_changes()
        self._stopped = self._loop.start(TICK)

    def stopService(self) -> Deferred[Any]:
        """Stop asking; fires when the questions in flight are cancelled."""
        super().stopService()
        self._loop.stop()
        self._changes.close()
        return DeferredList([self._stopped, self.throttle.stop()])

    @property
    def interval(self) -> float:
        """Seconds from one question to a node to the next, for a fleet of this size."""
        return max(self._least_interval, len(self._turns) / self._rate)

    def is_known(self, turn: SomeTurn) -> bool:
        """Whether this is still the turn of a node in the fleet, not of one that was removed."""
        return self._turns.get(turn.address) is turn

    def turn_of(self, address: NodeAddress) -> SomeTurn | None:
        """The turn of a node; None if there is no such node."""
        return self._turns.get(address)

    def _tick(self) -> None:
        """Ask the nodes that are due. An error in one tick does not prevent the next."""
        try:
            now = self._clock.seconds()
            self._follow(now)
            self.ticked(now)
            self.throttle.ask_due()
        except Exception:
            log.failure("a tick broke")

    def _follow(self, now: float) -> None:
        """Keep a turn for each node of the fleet."""
        new: dict[NodeAddress, SomeTurn] = {}
        for change in self._changes.read():
            address = change.address
            if change.event is Event.ADDED:
                self._turns[address] = new[address] = self.new_turn(address)
            elif change.event is Event.REMOVED:
                self.throttle.drop(self._turns.pop(address))
                new.pop(address, None)
            elif change.event is Event.RESPELLED:
                self._turns[address].address = address
            else:
                self.changed(self._turns[address], change.event, now)
        if new:
            self.added(list(new.values()), now)
