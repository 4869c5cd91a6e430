"""Rounds: says which nodes are due to be asked, and how many of them may be asked now."""

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
"""Seconds from one look for nodes that are due to the next, unless a subclass says otherwise."""

_UNLIMITED = 1e9

log = Logger()

Item = TypeVar("Item", bound=Hashable)


class Throttle(Generic[Item]):
    """
    Asks items when they are due, but only so many a second, and so many at the same time.

    Urgent items come first, in every other place; the other places are for the rest, so that
    urgent ones cannot keep them waiting for good.

    :param ask: asks an item; its Deferred fires at the end, and is cancelled to give up.
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
        """Ask an item when it is due; it may be urgent, too, at another time."""
        (self._urgent if urgent else self._waiting).put(item, due)

    def drop(self, item: Item) -> None:
        """Do not ask an item that waits."""
        self._waiting.drop(item)
        self._urgent.drop(item)

    def can_hurry(self, item: Item) -> bool:
        """Whether an item waits, and is not urgent."""
        return item in self._waiting and item not in self._urgent

    def ask_due(self) -> None:
        """Ask the items that are due, as many as may be asked now."""
        if self._is_asking:
            return  # an item ended at once: the loop below goes on to the next
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
        """Give up what is asked, and ask nothing more; fires when all has ended."""
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
    """When one node is asked, and what is known from asking it; subclasses add the latter."""

    __slots__ = ("address",)

    def __init__(self, address: NodeAddress) -> None:
        self.address = address


SomeTurn = TypeVar("SomeTurn", bound=Turn)


class Rounds(Service, Generic[SomeTurn]):
    """
    A service that asks all nodes of a fleet something, again and again.

    It follows the fleet, so that each node has a turn; a subclass says when, by `throttle.put`,
    and asks. A fleet with more nodes than may be asked in an interval has a longer one.

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
        """The turn of a node that was added."""

    @abstractmethod
    def ask(self, turn: SomeTurn, now: float) -> Deferred[Any]:
        """Ask a node. Whatever comes of it, its next turn must be arranged."""

    def added(self, turns: list[SomeTurn], now: float) -> None:
        """These nodes were added, and are still there."""

    def changed(self, turn: SomeTurn, event: Event, now: float) -> None:
        """A node came up, or went down."""

    def ticked(self, now: float) -> None:
        """The changes of the fleet were taken into account; next, nodes that are due are asked."""

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
        """Whether the node whose turn this is was not removed, nor another added in its place."""
        return self._turns.get(turn.address) is turn

    def turn_of(self, address: NodeAddress) -> SomeTurn | None:
        """The turn of a node; None if there is no such node."""
        return self._turns.get(address)

    def _tick(self) -> None:
        """Ask the nodes that are due. Whatever breaks, the next tick comes."""
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
