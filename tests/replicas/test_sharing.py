"""Tests of infernet_router.replicas.sharing."""

from itertools import pairwise
from math import inf
from typing import Any

from infernet_router.addresses import parse_address
from infernet_router.fleet import Outcome, State
from infernet_router.replicas.batches import Batch, Jobs, encode
from infernet_router.replicas.shares import key_of
from tests.doubles import report
from tests.replicas.sharing_case import NODES, A, B, Orders, SharingTestCase


class SharingTests(SharingTestCase):
    def test_members(self) -> None:
        """Replicas find each other; a fourth joins; one that says bye is gone at once."""
        one, two, three = self.start(3)
        self.assertEqual(self.counts(one, two, three), [3, 3, 3])
        self.assertEqual(one.shares.members, two.shares.members)
        (four,) = self.start(1)
        self.assertEqual(self.counts(one, four), [4, 4])
        self.lines.clear()
        self.successResultOf(two.sharing.stopService())
        self.pass_time(0.01)
        self.assertEqual(self.counts(one, three, four), [3, 3, 3])
        name = two.sender.hex()
        self.assertEqual(
            set(self.lines),
            {f"info: router {name} does not share the fleet any more; there are 3 now"},
        )
        self.assertEqual(len(self.lines), 3)

    def test_log(self) -> None:
        """One line says that sharing begins, and one that a member came."""
        one, _ = self.start(1)[0], self.start(1)
        name = self.replicas[1].sender.hex()
        self.assertEqual(
            self.lines,
            [
                "info: routers that share the fleet, this one included: 1",
                f"info: router {name} shares the fleet from now on; there are 2 now",
                "info: routers that share the fleet, this one included: 2",
            ],
        )
        self.assertFalse(one.sharing.is_alone)

    def test_breaks(self) -> None:
        """An error of our own is logged, and does not end the heartbeat."""
        one: Any = self.start(1)[0]
        one.members_changed = lambda: 1 // 0
        self.start(1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.pass_time(1.0)
        self.assertEqual(self.counts(one), [2])

    def test_poller(self) -> None:
        """The poller that it makes hears of the polls of others."""
        one, two = self.start(2)
        nobody: Any = None
        poller = one.sharing.make_poller(one.fleet, nobody, self.clock, interval=2.0)
        self.assertEqual((poller.interval, poller.least_interval), (2.0, 2.0))
        two.report(A, pending=3)
        self.pass_time(0.1)
        self.assertEqual(one.view(A).pending, 0, "it does not run")

    def test_death(self) -> None:
        """A member that is not heard for two seconds is gone."""
        one, two = self.start(2)
        two.link.is_mute = True
        self.pass_time(1.5)
        self.assertEqual(self.counts(one), [2])
        changes = one.changes
        self.pass_time(1.1)
        self.assertEqual((self.counts(one), one.changes), ([1], changes + 1))
        self.assertFalse(one.sharing.is_alone)

    def test_assigned(self) -> None:
        """A job is known at the others after the time that a message takes."""
        one, two, three = self.start(3, [A])
        self.pass_time(0.1)
        one.fleet.pick(["llm"])
        self.pass_time(0.01)
        self.assertEqual([r.view(A).assigned for r in (one, two, three)], [1.0, 1.0, 1.0])
        self.assertEqual([r.fleet.decided for r in (one, two, three)], [1, 0, 0])

    def test_windows(self) -> None:
        """The first job is told at once, later ones together at the end of the window."""
        one, two = self.start(2, [A])
        self.pass_time(0.1)
        self.batches()
        for _ in range(100):
            one.fleet.pick(["llm"], jobs=2)
            self.clock.advance(0.001)
        self.pass_time(0.05)
        mine = [batch for batch in self.batches() if batch.sender == one.sender]
        self.assertEqual(sum(batch.jobs.counts[0] for batch in mine), 200)
        self.assertEqual(mine[0].jobs.counts, [2])
        sent = [batch.sent for batch in mine]
        self.assertTrue(all(later - sooner > 0.0099 for sooner, later in pairwise(sent)))
        self.assertTrue(9 <= len(mine) <= 12, len(mine))
        self.assertEqual(two.view(A).assigned, 200.0)

    def test_window_grows(self) -> None:
        """With more members, the window is longer: so all together send 400 batches a second."""
        replicas = self.start(8, [A])
        self.pass_time(0.1)
        self.batches()
        for _ in range(500):
            for replica in replicas:
                replica.fleet.pick(["llm"])
            self.clock.advance(0.002)
        self.assertTrue(385 < len(self.batches()) < 415)

    def test_heartbeat(self) -> None:
        """Whoever has nothing to tell is heard each half second."""
        one, _ = self.start(2)
        self.batches()
        self.pass_time(5.0)
        sent = [batch.sent for batch in self.batches() if batch.sender == one.sender]
        self.assertTrue(all(later - sooner <= 0.51 for sooner, later in pairwise(sent)))
        self.assertTrue(len(sent) <= 21)

    def test_reports(self) -> None:
        """Reports, failures and outcomes reach the others; times are those of their clocks."""
        one, two = self.start(2)
        self.pass_time(1.0)
        one.report(A, pending=7)
        one.sharing.missed(one.share(B), "refused")
        one.fleet.told(NODES[2], Outcome.FAILED)
        self.pass_time(0.02)
        view = two.view(A)
        self.assertEqual(view.pending, 7)
        self.assertApproximates(view.report_age, 0.02, 0.003)
        self.assertEqual((two.view(B).state, two.view(B).reason), (State.SUSPECT, "refused"))
        self.assertGreater(two.view(NODES[2]).doubt, 0.0)

    def test_different_lists(self) -> None:
        """Nodes that only one replica knows are its own affair."""
        one, two = self.start(1, [A, B])[0], self.start(1, [B, NODES[2]])[0]
        self.pass_time(1.0)
        for address in (A, B):
            one.report(address, pending=3)
            one.fleet.assigned_elsewhere(address, 1.0, 1)
        one.sharing.assigned(NODES[5], 1.0, 1)
        one.sharing.told(NODES[5], Outcome.DONE)
        self.pass_time(0.1)
        self.assertEqual(two.view(B).pending, 3)
        self.assertEqual(two.view(NODES[2]).pending, 0)
        self.assertEqual(two.sharing.batches["malformed"], 0)

    def test_lost(self) -> None:
        """Without a connection a router is alone, says so once, and shares again later."""
        one, two = self.start(2)
        self.lines.clear()
        self.hub.stop()
        self.pass_time(1.0)
        self.assertEqual((self.counts(one), self.lines), ([2], []))
        self.pass_time(1.5)
        self.assertEqual((self.counts(one, two), one.sharing.is_alone), ([1, 1], True))
        self.assertIsNone(one.sharing.echo)
        self.assertEqual(one.sharing.why_alone, "connection refused")
        for _ in range(10):
            one.link.lose("connection refused")
            self.pass_time(0.5)
        self.assertEqual(
            self.lines,
            2
            * [
                "warn: alone: this router polls all nodes itself and knows no jobs of others:"
                " connection refused"
            ],
        )
        one.link.lose("the password is wrong")
        self.assertIn("the password is wrong", self.lines[-1])
        self.lines.clear()
        self.hub.start()
        self.pass_time(1.2)
        self.assertEqual(self.counts(one, two), [2, 2])
        self.assertEqual(
            self.lines, 2 * ["info: routers that share the fleet, this one included: 2"]
        )
        self.assertApproximates(one.sharing.echo, 0.001, 0.0015)

    def test_never_there(self) -> None:
        """A router whose server is away from the start says so once, and works alone."""
        self.hub.is_up = False
        (one,) = self.start(1)
        one.link.lose("connection refused")
        self.pass_time(10.0)
        self.assertEqual(len(self.lines), 1)
        self.assertEqual((one.sharing.members, one.sharing.is_alone), (1, True))

    def test_no_word_of_the_link(self) -> None:
        """A router that has no connection after three seconds says so."""
        self.hub.is_up = False
        self.start(1)
        self.pass_time(3.0)
        self.assertIn("there is no connection yet", self.lines[0])
        self.assertEqual(len(self.lines), 1)

    def test_deaf(self) -> None:
        """A router that does not hear itself is alone, but still helps those who hear it."""
        one, two = self.start(2)
        one.link.is_deaf = True
        self.pass_time(2.5)
        self.assertEqual(self.counts(one, two), [1, 2])
        self.assertEqual(one.sharing.why_alone, "what it publishes does not come back")
        one.report(A, pending=4)
        self.pass_time(0.1)
        self.assertEqual(two.view(A).pending, 4)

    def test_nothing_old(self) -> None:
        """What happened while there was no connection is not told later."""
        one, two = self.start(2)
        self.hub.stop()
        one.fleet.pick(["llm"], jobs=50)
        one.fleet.told(A, Outcome.FAILED)
        one.report(A, pending=50)
        one.sharing.missed(one.share(B), "refused")
        self.hub.start()
        self.pass_time(0.5)
        self.assertEqual(sum(two.view(address).assigned for address in NODES), 0.0)
        self.assertEqual((two.view(A).pending, two.view(B).state), (0, State.UP))

    def test_slow_server(self) -> None:
        """While one message is under way, jobs are summed; those of over a second are dropped."""
        one, two = self.start(2, [A])
        one.link.is_stuck = True
        one.fleet.pick(["llm"])
        self.pass_time(0.1)
        self.batches()
        for _ in range(4):
            one.fleet.pick(["llm"])
            self.pass_time(0.4)
        one.link.is_stuck = False
        self.pass_time(1.0)
        mine = [batch for batch in self.batches() if batch.sender == one.sender]
        self.assertEqual([batch.jobs.counts for batch in mine if batch.jobs.counts], [])
        self.assertEqual(one.sharing.batches["failed"], 1)
        self.assertEqual(one.sharing.batches["dropped"], 1)
        one.fleet.pick(["llm"])
        self.pass_time(0.1)
        self.assertEqual(two.view(A).assigned, 1.0)

    def test_late(self) -> None:
        """What a server that stood still delivers later is too late to count."""
        one, two = self.start(2, [A])
        self.hub.delay = lambda: 5.0
        one.fleet.pick(["llm"], jobs=50)
        self.pass_time(0.1)
        self.hub.delay = lambda: 0.001
        self.pass_time(6.0)
        self.assertEqual(two.view(A).assigned, 0.0)
        self.assertEqual(two.sharing.batches["late"], 1)

    def test_lost_batches(self) -> None:
        """Batches that arrive at Redis, and not here, are counted."""
        one, two = self.start(2, [A])
        self.assertEqual(two.sharing.batches["lost"], 0)
        two.link.is_deaf = True
        one.fleet.pick(["llm"])
        self.pass_time(0.05)
        two.link.is_deaf = False
        self.pass_time(1.0)
        self.assertEqual(two.sharing.batches["lost"], 1)
        self.assertEqual(one.sharing.batches["lost"], 0)

    def test_paused(self) -> None:
        """A replica that stood still for 20 s neither drops the others nor polls all nodes."""
        one, two = self.start(2)
        changes, self.lines[:] = one.changes, []
        self.clock.advance(20.0)
        self.pass_time(3.0)
        self.assertEqual((self.counts(one, two), one.changes), ([2, 2], changes))
        self.assertEqual(self.lines, [])

    def test_garbage(self) -> None:
        """Messages that are no batches are counted, and said once."""
        one, _ = self.start(2)
        self.lines.clear()
        for message in (b"garbage", b"x" * 2_000_000, b"", encode(_unsound(one.sender))):
            self.hub.carry(message)
        self.hub.carry(encode(_unsound(b"stranger")))
        self.pass_time(0.1)
        self.assertEqual(one.sharing.batches["malformed"], 4)
        self.assertEqual(len(self.lines), 2)
        self.assertIn("is no batch", self.lines[0])

    def test_flooded(self) -> None:
        """When batches come faster than they can be applied, some are dropped."""
        one, _ = self.start(2)
        large = Jobs(b"no node!" * 100_000, [1] * 100_000, [])
        one.fleet._seconds = _Slow(one.fleet._seconds)
        for number in range(10):
            one.sharing.heard(encode(Batch(b"stranger", number, 5.0, jobs=large)))
        self.assertGreater(one.sharing.batches["dropped"], 0)

    def test_orders(self) -> None:
        """Each batch has the digest of the orders; those of others are heard."""
        one, two = self.start(2)
        one.sharing.orders, two.sharing.orders = Orders(), Orders()
        self.pass_time(1.0)
        self.assertEqual(set(one.sharing.orders.heard_digests), {5})
        self.hub.stop()
        self.hub.start()
        self.assertEqual(one.sharing.orders.connections, 1)

    def test_order_known(self) -> None:
        """An order is known once it is in the hash and all others have told the same digest."""
        one, two = self.start(2)
        self.assertIsNone(one.sharing.order_known_at(A))
        mine, theirs = Orders(), Orders()
        one.sharing.orders, two.sharing.orders = mine, theirs
        self.pass_time(1.0)
        known_at = one.sharing.order_known_at(A)
        assert known_at is not None
        self.assertLess(known_at, one.fleet.now)
        self.assertGreater(known_at, one.fleet.now - 1.0)
        mine.told = False
        self.assertIsNone(one.sharing.order_known_at(A))
        mine.told, mine.digest = True, 6
        self.pass_time(1.0)
        self.assertIsNone(one.sharing.order_known_at(A))
        theirs.digest = 6
        self.pass_time(1.0)
        self.assertGreater(one.sharing.order_known_at(A) or 0.0, known_at)
        mine.digest = 7
        two.sharing.stopService()
        self.pass_time(1.0)
        self.assertEqual(one.sharing.order_known_at(A), -inf)
        self.hub.stop()
        self.pass_time(3.0)
        self.assertIsNone(one.sharing.order_known_at(A))

    def test_passed_on(self) -> None:
        """An outcome is passed on to the member that made the decision, if it is one."""
        one, two, three = self.start(3)
        heard: list[tuple[object, ...]] = []
        for replica in (two, three):
            replica.sharing.passed = lambda *what, to=replica: heard.append((to, *what))
        self.assertTrue(one.sharing.pass_on(two.sender, "id", Outcome.DONE, b"client"))
        self.assertFalse(one.sharing.pass_on(b"stranger", "id", Outcome.DONE, b"client"))
        self.pass_time(0.05)
        self.assertEqual(heard, [(two, "id", Outcome.DONE, b"client")])
        self.hub.stop()
        self.assertFalse(one.sharing.pass_on(two.sender, "id", Outcome.DONE, b"client"))
        self.assertEqual(one.sharing.router, one.sender.hex())

    def test_large(self) -> None:
        """What takes more than one message is sent one message after the other."""
        many = [parse_address(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}") for n in range(30_000)]
        one, two = self.start(2, many)
        self.pass_time(0.1)
        before = one.sharing.batches["sent"]
        for number, address in enumerate(many):
            share = one.share(address)
            one.sharing.reported(share, report(f"llm {number % 7}", pending=number % 50))
            one.sharing.assigned(address, 1.5, 1)
        self.pass_time(0.02)
        self.assertEqual(one.sharing.batches["sent"], before + 2)
        self.pass_time(0.1)
        self.assertEqual(two.view(many[-1]).pending, 29_999 % 50)
        self.assertEqual(two.view(many[0]).assigned, 1.5)

    def test_stop(self) -> None:
        """A router stops with a word, waiting for a server that is too slow for two seconds."""
        one, two = self.start(2)
        one.fleet.pick(["llm"])
        one.link.is_stuck = True
        self.pass_time(0.1)
        stopped = one.sharing.stopService()
        self.assertNoResult(stopped)
        self.pass_time(4.1)
        self.successResultOf(stopped)
        one.fleet.pick(["llm"])
        self.hub.stop()
        self.successResultOf(two.sharing.stopService())

    def test_nothing_after_bye(self) -> None:
        """A router that stops takes nothing on that it cannot tell any more."""
        one, two = self.start(2)
        one.link.is_stuck = True
        one.fleet.pick(["llm"])
        self.pass_time(0.1)
        one.sharing.stopService()
        self.batches()
        self.assertFalse(one.sharing.pass_on(two.sender, "id", Outcome.DONE, b"client"))
        one.link.is_stuck = False
        one.link.lose("connection refused")
        one.link.connect()
        one.report(A)
        self.pass_time(3.0)
        mine = [batch.bye for batch in self.batches() if batch.sender == one.sender]
        self.assertEqual(mine, [True])


def _unsound(sender: bytes) -> Batch:
    """A batch whose head is sound and whose content is not."""
    return Batch(sender, 1, 5.0, jobs=Jobs(key_of(A), [1, 1], []))


class _Slow:
    """A clock of which each look takes some time."""

    def __init__(self, seconds: Any) -> None:
        self._seconds = seconds
        self._late = 0.0

    def __call__(self) -> float:
        self._late += 0.01
        now: float = self._seconds() + self._late
        return now
