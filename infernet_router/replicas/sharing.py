"""Sharing: tells the other members what this one does, and applies what they do to its fleet."""

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Outcome
from infernet_router.fleet.shared import SharedFleet
from infernet_router.nodes.asking import Asker
from infernet_router.replicas.agreement import Agreement
from infernet_router.replicas.batches import BadBatch, Batch, Passed, decode_head, encode
from infernet_router.replicas.hearing import Hearing, Polls
from infernet_router.replicas.link import Link, Orders
from infernet_router.replicas.members import Members
from infernet_router.replicas.outgoing import Outgoing
from infernet_router.replicas.polling import SharedPoller
from infernet_router.replicas.shares import Share, Shares
from infernet_router.reports import NodeReport

_WINDOW = 0.01
"""The least seconds from one batch to the next."""

_WINDOW_EACH = 0.0025
"""The same for each member: so all together send 400 batches a second. With 200, ten routers
of 500 nodes would know too little of what the others do at the same moment: in simulations, jobs
take 1.06 times as long as with one router, rather than 1.02."""

_BEAT = 0.25
"""Seconds from one look at who is there to the next."""

_QUIET = 0.25
"""Seconds after the last batch at which such a look sends one: at least one each half second."""

_PAUSED = 1.0
"""Seconds by which a look is late when the process stood still."""

_OLDEST = 1.0
"""Seconds after which what was not told is not worth it any more."""

_FIRST_LOOK = 3.0
"""Seconds after the start from which on it is worth a line of the log that a router is alone."""

_MOST_SAID = 20
"""The most different reasons that are logged until the router shares again."""

log = Logger()


class Sharing(Service):
    """
    Shares a fleet with other routers, as long as they are there.

    :param fleet: the one to share.
    :param link: carries the batches.
    :param clock: the reactor.
    :param shares: divides the polls.
    :param sender: 8 random bytes that stand for this router until it stops.
    """

    orders: Orders | None = None
    """Keeps operators' orders the same at all members."""

    passed: Callable[[str, Outcome, bytes], None] | None = None
    """Called with the outcome of a decision made here that a client told another member: the id of
    the decision, the outcome, and what stands for the client."""

    def __init__(
        self, fleet: SharedFleet, link: Link, clock: IReactorTime, shares: Shares, sender: bytes
    ) -> None:
        self._fleet = fleet
        self.link = link
        self._clock = clock
        self._shares = shares
        self._me = sender
        self._members = Members(sender)
        self._agreement = Agreement()
        self._outgoing = Outgoing()
        self._hearing = Hearing(fleet, shares, clock, self._refused, self._applied)
        self._number = 0
        """How many batches were made."""
        self._sent = 0.0
        """When the last one was made."""
        self._unsent: deque[bytes] = deque()
        """Messages that wait until the one in flight has arrived."""
        self._in_flight: Deferred[Any] | None = None
        self._timer: IDelayedCall | None = None
        """Sends the next batch."""
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        self._is_connected = False
        self._reason = "there is no connection yet"
        """Why this router is alone, if it is."""
        self._said = set[str]()
        """The reasons that were logged since this router last shared."""
        self.is_alone = True
        """Whether this router polls all nodes, as it cannot know who hears it."""
        self.batches = Counter[str]()
        """How many batches there were, by result."""

    @property
    def members(self) -> int:
        """How many routers share the fleet, this one included; 1 while it is alone."""
        return len(self._shares.members)

    @property
    def why_alone(self) -> str:
        """Why this router is alone, if it is."""
        return self._reason

    @property
    def echo(self) -> float | None:
        """The seconds that a batch took to the server and back; None while that is unknown."""
        return None if self.is_alone else self._members.echo

    @property
    def router(self) -> str:
        """What stands for this router, in hexadecimal digits."""
        return self._me.hex()

    def order_known_at(self, address: NodeAddress) -> float | None:
        """
        Since when all members are known to follow the order for an address, on the fleet's clock.

        None while that is not certain. A member says in each batch which orders it knows, and has
        told by then which jobs it assigned before.
        """
        if self.is_alone or self.orders is None or not self.orders.has_told(address):
            return None
        others = self._shares.members - {self._shares.me}
        return self._agreement.since(others, self.orders.digest)

    def make_poller(
        self, fleet: SharedFleet, http: Asker, clock: IReactorTime, **options: Any
    ) -> SharedPoller:
        """A poller that divides the polls with the other members, made as a Poller is."""
        poller = SharedPoller(fleet, http, clock, self._shares, self, Random(), **options)
        self.hear_with(poller)
        return poller

    def hear_with(self, polls: Polls) -> None:
        """Set the poller, which hears of the polls of others; before the start."""
        self._hearing.polls = self._polls = polls

    def startService(self) -> None:
        super().startService()
        self._started = self._looked = self._fleet.now
        self._fleet.follower = self
        self._loop.start(_BEAT, now=False)
        self.link.start(self)

    def stopService(self) -> Deferred[Any]:
        """Say bye, and disconnect; fires when that is done."""
        super().stopService()
        self._loop.stop()
        self._fleet.follower = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._unsent.clear()
        said = self._in_flight or succeed(None)
        was_connected, self._is_connected = self._is_connected, False
        if was_connected:
            said = said.addBoth(lambda _: self._say_bye())
        return said.addBoth(lambda _: self.link.stop())

    def _say_bye(self) -> Deferred[Any]:
        now, digest = self._fleet.now, self._orders_digest
        batch = Batch(self._me, self._number, now, orders_digest=digest, bye=True)
        return self.link.publish(encode(batch)).addErrback(lambda _: None)

    @property
    def _orders_digest(self) -> int:
        return self.orders.digest if self.orders is not None else 0

    def assigned(self, address: NodeAddress, weight: float, jobs: int) -> None:
        """Tell that jobs were assigned to a node here."""
        if self._is_connected and (share := self._shares.of(address)) is not None:
            self._outgoing.assigned(share, weight, jobs, self._fleet.decided_at)
            if self._timer is None:
                self._send_soon()

    def told(self, address: NodeAddress, outcome: Outcome) -> None:
        """Tell the outcome of a job that a client reported here."""
        if self._is_connected and (share := self._shares.of(address)) is not None:
            self._outgoing.told(share, outcome, self._fleet.now)
            self._send_soon()

    def reported(self, share: Share, report: NodeReport) -> None:
        """Tell that a node reported to this router."""
        if self._is_connected:
            self._outgoing.reported(share, report, self._fleet.now)
            self._send_soon()

    def missed(self, share: Share, reason: str) -> None:
        """Tell that a poll of this router failed."""
        if self._is_connected:
            self._outgoing.missed(share, reason, self._fleet.now)
            self._send_soon()

    def pass_on(self, member: bytes, decision: str, outcome: Outcome, client: bytes) -> bool:
        """
        Pass the outcome of a job on to the member that made the decision.

        :param client: what stands for the client, 16 bytes at most.
        :return: False if it is no member.
        """
        if int.from_bytes(member, "big") not in self._shares.members or not self._is_connected:
            return False
        self._outgoing.passed(Passed(member, decision, outcome, client), self._fleet.now)
        self._send_soon()
        return True

    def connected(self) -> None:
        if not self.running:
            return  # it said bye, or is about to
        self._is_connected = True
        self._reason = "what it publishes does not come back"
        self._send()
        if self.orders is not None:
            self.orders.connected()

    def lost(self, reason: str) -> None:
        self._is_connected, self._reason = False, reason
        self._outgoing.drop()
        self._unsent.clear()
        if self.is_alone:
            self._say_alone()

    def heard(self, message: bytes) -> None:
        try:
            head = decode_head(message)
        except BadBatch as error:
            self._refused(error)
            return
        sent = self._members.hear(head, self._fleet.now)
        self.batches["lost"] = self._members.lost
        if head.sender == self._me:
            return
        if sent is None:
            self.batches["late"] += 1
        elif not self._hearing.hear(message, sent):
            self.batches["dropped"] += 1

    def _applied(self, batch: Batch) -> None:
        """A batch of another member was applied to the fleet."""
        self.batches["heard"] += 1
        if self.orders is not None:
            self.orders.heard(batch.orders_digest)
            member = int.from_bytes(batch.sender, "big")
            self._agreement.heard(member, batch.orders_digest, self._fleet.now)
        for passed in batch.passed:
            if passed.member == self._me and self.passed is not None:
                self.passed(passed.decision, passed.outcome, passed.client)
        if batch.bye:
            self._members.leave(batch.sender)
            self._see()

    def _refused(self, error: BadBatch) -> None:
        """Count a message that is no batch; say so once."""
        self.batches["malformed"] += 1
        if "malformed" not in self._said:
            self._said.add("malformed")
            log.warn(
                "a message on the channel of the replicas is no batch: {reason}",
                event="replicas.malformed",
                reason=str(error),
            )

    def _send_soon(self) -> None:
        """Send a batch, unless one was sent within the window: then at its end."""
        if self._timer is None and self._in_flight is None:
            window = max(_WINDOW, _WINDOW_EACH * self.members)
            wait = self._sent + window - self._fleet.now
            self._timer = self._clock.callLater(max(0.0, wait), self._send)

    def _send(self) -> None:
        """Send all there is to tell; nothing, to be heard."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._in_flight is not None:
            return
        now, since = self._fleet.now, self._outgoing.since
        if since is not None and now - since > _OLDEST:
            self._outgoing.drop()
            self.batches["dropped"] += 1
        messages = self._outgoing.take(self._me, self._number, now, self._orders_digest)
        self._number += len(messages)
        self._sent = now
        self._unsent.extend(messages)
        self._publish()

    def _publish(self) -> None:
        """Publish the next message; one at a time."""
        self._in_flight = sent = self.link.publish(self._unsent.popleft())
        sent.addCallbacks(lambda _: self._published("sent"), lambda _: self._published("failed"))
        sent.addErrback(lambda why: log.failure("sharing broke", why, event="internal.error"))

    def _published(self, result: str) -> None:
        """Go on after a message arrived at the server, or did not."""
        self._in_flight = None
        self.batches[result] += 1
        if not self._is_connected or not self.running or result == "failed":
            self._unsent.clear()
        elif self._unsent:
            self._publish()
        elif self._outgoing.since is not None:
            self._send_soon()

    def _look(self) -> None:
        """Look at who is there, and let the others hear that this router is."""
        try:
            now = self._fleet.now
            late = now - self._looked - _BEAT
            if late > _PAUSED:
                self._members.paused(late, now)
            self._looked = now
            self._see()
            if self._is_connected and now - self._sent >= _QUIET:
                self._send()
        except Exception:
            log.failure("looking at the members broke", event="internal.error")

    def _see(self) -> None:
        """Divide the polls anew if members came or went; log that."""
        now, was_alone, before = self._fleet.now, self.is_alone, self._shares.members
        present = {int.from_bytes(sender, "big") for sender in self._members.look(now)}
        self._agreement.keep(present)
        self.is_alone = self._members.is_alone(now)
        if self._shares.set_members(() if self.is_alone else present):
            self._polls.members_changed()
        if self.is_alone:
            if not was_alone or (not self._said and now - self._started > _FIRST_LOOK):
                self._say_alone()
            return
        after = self._shares.members
        if was_alone:
            self._said.clear()
            log.info(
                "routers that share the fleet, this one included: {members}",
                event="replicas.sharing",
                members=len(after),
            )
            return
        for member in after - before:
            log.info(
                "router {member} shares the fleet from now on; there are {members} now",
                event="replicas.joined",
                member=f"{member:016x}",
                members=len(after),
            )
        for member in before - after:
            log.info(
                "router {member} does not share the fleet any more; there are {members} now",
                event="replicas.left",
                member=f"{member:016x}",
                members=len(after),
            )

    def _say_alone(self) -> None:
        """Log that this router is alone, once for each reason."""
        if self._reason not in self._said and len(self._said) < _MOST_SAID:
            self._said.add(self._reason)
            log.warn(
                "alone: this router polls all nodes itself and knows no jobs of others: {reason}",
                event="replicas.alone",
                reason=self._reason,
            )
