"""Rounds: asks all nodes of a fleet the same question, again and again."""

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Change, Event, Fleet
from infernet_router.nodes.throttle import Throttle

TICK = 0.1
"""Seconds from one look for nodes that are due to the next, unless a subclass changes it."""

_FOLLOWING = 0.002
"""Seconds that a tick may take to follow the fleet, in which 100,000 nodes may change at once."""

_SOON = 0.01
"""Seconds until the next tick while there are more changes to follow."""

_READ = 100
"""How many changes of the fleet are read between two looks at the clock."""

log = Logger()


class Target:
    """A node to ask; subclasses add when it is asked, and what they know from asking it."""

    __slots__ = ("address",)

    def __init__(self, address: NodeAddress) -> None:
        self.address = address


SomeTarget = TypeVar("SomeTarget", bound=Target)


class Rounds(Service, Generic[SomeTarget]):
    """
    A service that asks all nodes of a fleet the same question, again and again.

    It follows the fleet, and keeps a target for each node; a subclass schedules the targets with
    `throttle.put`, and asks them. A fleet with more nodes than may be asked in an interval has a
    longer interval.

    Due times are on the fleet's clock, which continues while the process is stopped. Timeouts are
    on the reactor's clock, which stands still then.

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
        self._targets: dict[NodeAddress, SomeTarget] = {}
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock
        self._interval = TICK
        self._stopped: Deferred[Any] = succeed(None)

    @abstractmethod
    def new_target(self, address: NodeAddress) -> SomeTarget:
        """The target for a new node."""

    @abstractmethod
    def ask(self, target: SomeTarget, now: float) -> Deferred[Any]:
        """Ask a node, and schedule it again whether or not it answers."""

    def added(self, targets: list[SomeTarget], now: float) -> None:
        """Called with the new nodes that are still in the fleet."""

    def removed(self, target: SomeTarget) -> None:
        """Called with a node that left the fleet."""

    def changed(self, target: SomeTarget, event: Event, now: float) -> None:
        """Called when a node came up or went down."""

    def ticked(self, now: float) -> None:
        """Called in each tick after the changes of the fleet, before due nodes are asked."""

    def startService(self) -> None:
        super().startService()
        self._targets = {}
        self.throttle = Throttle(
            lambda: self._fleet.now,
            self.ask,
            at_once=self._at_once,
            rate=self._rate,
            burst=self._burst,
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
    def least_interval(self) -> float:
        """The same for a small fleet, as it was set."""
        return self._least_interval

    @property
    def interval(self) -> float:
        """Seconds from one question to a node to the next, for a fleet of this size."""
        return max(self._least_interval, len(self._targets) / self._rate)

    def tick_every(self, seconds: float) -> None:
        """Look for nodes that are due at this interval from now on."""
        self._interval = seconds

    def is_known(self, target: SomeTarget) -> bool:
        """Whether this is the target of a node in the fleet, not of one that was removed."""
        return self._targets.get(target.address) is target

    def target_of(self, address: NodeAddress) -> SomeTarget | None:
        """The target of a node; None if there is no such node."""
        return self._targets.get(address)

    def _tick(self) -> None:
        """Ask the nodes that are due. An error in one tick does not prevent the next."""
        try:
            now = self._fleet.now
            has_all = self._follow(now)
            self.ticked(now)
            self._loop.interval = self._interval if has_all else min(self._interval, _SOON)
            self.throttle.ask_due()
        except Exception:
            log.failure("a tick broke", event="internal.error")

    def _follow(self, now: float) -> bool:
        """
        Keep a target for each node of the fleet, whatever breaks.

        Returns whether all changes were read; otherwise, the next tick goes on.
        """
        new: dict[NodeAddress, SomeTarget] = {}
        while changes := self._changes.read(_READ):
            for change in changes:
                try:
                    self._apply(change, new, now)
                except Exception:
                    log.failure(
                        "following {node} broke", event="internal.error", node=change.address
                    )
            if self._fleet.now - now > _FOLLOWING:
                break
        if new:
            self.added(list(new.values()), now)
        return not changes

    def _apply(self, change: Change, new: dict[NodeAddress, SomeTarget], now: float) -> None:
        """Take one change into account; `new` has the targets that were added."""
        address = change.address
        if change.event is Event.ADDED:
            self._targets[address] = new[address] = self.new_target(address)
        elif change.event is Event.REMOVED:
            target = self._targets.pop(address)
            self.throttle.drop(target)
            self.removed(target)
            new.pop(address, None)
        elif change.event is Event.RESPELLED:
            self._targets[address].address = address
        else:
            self.changed(self._targets[address], change.event, now)
