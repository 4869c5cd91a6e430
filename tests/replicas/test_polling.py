"""Tests of infernet_router.replicas.polling."""

from infernet_router.addresses import parse_address
from infernet_router.fleet import State
from infernet_router.replicas.shares import Shares
from tests.doubles import report
from tests.replicas.polling_case import INTERVAL, ME, NODES, ONE, TWO, SharedPollerTestCase


class SharedPollerTests(SharedPollerTestCase):
    def test_alone(self) -> None:
        """A member that is alone polls all nodes once an interval, and tells what it learns."""
        self.start(NODES)
        self.pass_time(INTERVAL * 1.1)  # nodes get into their random phases
        self.forget()
        self.pass_time(2.1 * INTERVAL)
        self.assertTrue({self.polls(address) for address in NODES} <= {2, 3})
        self.assertEqual(len(self.teller.told), sum(map(len, self.http.asked.values())))

    def test_divided(self) -> None:
        """Of the nodes of others, none is polled while they are heard of."""
        self.start(NODES, ONE)
        theirs = [share.address for share in self.shares.each() if not self.shares.is_mine(share)]
        self.assertTrue(10 < len(theirs) < 50)
        for turn in range(8):
            for address in theirs:
                self.hear(address)
            if turn == 2:
                self.forget()
            self.pass_time(INTERVAL / 2)
        for address in NODES:
            self.assertEqual(self.polls(address), 0 if address in theirs else 3)

    def test_backup(self) -> None:
        """A node that nothing is heard of is polled after 1.5 to 2 intervals."""
        self.start(NODES, ONE)
        theirs = [share.address for share in self.shares.each() if not self.shares.is_mine(share)]
        began = self.clock.seconds()
        for address in theirs:
            self.hear(address)
        self.pass_time(2.1 * INTERVAL)
        waits = [self.http.asked[str(address)][0] - began for address in theirs]
        self.assertGreater(min(waits), 1.5 * INTERVAL - 0.1)
        self.assertLess(max(waits), 2 * INTERVAL + 0.1)
        self.assertGreater(max(waits) - min(waits), 0.25 * INTERVAL)

    def test_new_nodes(self) -> None:
        """Every member polls a new node once; what is removed is forgotten."""
        self.start(NODES[:30], ONE)
        self.fleet.replace(NODES[20:])
        self.pass_time(0.2)
        self.assertEqual({self.polls(address) for address in NODES[30:]}, {1})
        self.assertIsNone(self.shares.of(NODES[0]))

    def test_heard(self) -> None:
        """A report of another member counts as one of this router's own."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.assertEqual(self.state(address), State.DOWN)
        self.pass_time(0.5)
        self.hear(address, pending=3)
        view = self.fleet.view(address)
        assert view is not None
        self.assertEqual((view.state, view.pending, view.report_age), (State.UP, 3, 0.0))
        self.assertIn("is back after", self.lines[-1])

    def test_urgent(self) -> None:
        """A node that gets a job anywhere is polled soon by its owner, and by nobody else."""
        mine, theirs = self.mine(ONE), self.of(ONE)
        self.start([mine, theirs], ONE)
        self.hear(theirs)
        for address in (mine, theirs):
            self.fleet.assigned_elsewhere(address, 1.0, 1)
        self.pass_time(1.5)
        self.assertEqual((self.polls(mine), self.polls(theirs)), (1, 0))
        self.hear(theirs)
        self.fleet.pick(["llm"])
        self.fleet.pick(["llm"])
        self.pass_time(1.5)
        self.assertEqual((self.polls(mine), self.polls(theirs)), (2, 0))

    def test_member_gone(self) -> None:
        """The nodes of a member that is gone are polled when due, spread over half an interval."""
        self.start(NODES, ONE)
        theirs = [share.address for share in self.shares.each() if not self.shares.is_mine(share)]
        for half in theirs[::2], theirs[1::2]:
            for address in half:
                self.hear(address)
            self.pass_time(0.7 * INTERVAL)
        self.shares.set_members([])
        self.poller.members_changed()
        self.forget()
        began = self.clock.seconds()
        self.pass_time(INTERVAL)
        waits = [self.http.asked[str(address)][0] - began for address in theirs]
        # The first half was due 0.4 intervals ago, and must be polled within 0.6.
        self.assertLess(max(waits[::2]), 0.5 * INTERVAL + 0.1)
        self.assertGreater(max(waits[::2]) - min(waits[::2]), 0.25 * INTERVAL)
        self.assertGreater(min(waits[1::2]), 0.3 * INTERVAL - 0.1)
        self.assertLess(max(waits[1::2]), 0.8 * INTERVAL + 0.1)
        self.pass_time(INTERVAL)
        self.assertEqual({self.polls(address) for address in NODES}, {2})

    def test_taken_over_late(self) -> None:
        """A node that is long overdue when it is taken over is polled within two intervals."""
        self.start(NODES, ONE)
        theirs = [share.address for share in self.shares.each() if not self.shares.is_mine(share)]
        for address in theirs:
            self.hear(address)
        self.pass_time(1.85 * INTERVAL)
        rest = [address for address in theirs if not self.polls(address)]
        self.assertTrue(rest)
        self.shares.set_members([])
        self.poller.members_changed()
        self.pass_time(0.15 * INTERVAL + 0.1)
        self.assertEqual({self.polls(address) for address in rest}, {1})

    def test_member_comes(self) -> None:
        """The nodes that a new member takes over are left to it."""
        self.start(NODES)
        self.shares.set_members([ONE])
        self.poller.members_changed()
        self.pass_time(0.1)
        theirs = [share.address for share in self.shares.each() if not self.shares.is_mine(share)]
        for address in theirs:
            self.hear(address)
        self.forget()
        self.pass_time(1.4 * INTERVAL)
        self.assertEqual({self.polls(address) for address in theirs}, {0})
        self.assertEqual(sum(map(len, self.http.asked.values())) > 0, True)

    def test_polled_when_members_change(self) -> None:
        """A node that is polled while the members change is scheduled afterwards."""
        address = self.of(ONE)
        self.http.silent.add(str(address))
        self.start([address])
        self.shares.set_members([ONE])
        self.poller.members_changed()
        self.pass_time(1.0)
        self.http.silent.clear()
        self.pass_time(2.2)  # it ran out of time
        self.forget()
        self.hear(address)
        self.pass_time(1.4 * INTERVAL)
        self.assertEqual(self.polls(address), 0)

    def test_large_fleet(self) -> None:
        """Each member polls at the limit, so that together they poll the more often."""
        self.start(NODES, ONE, TWO, max_polls=5)
        self.assertEqual(self.poller.interval, 60 / 3 / 5)
        self.shares.set_members([])
        self.assertEqual(self.poller.interval, 60 / 5)

    def test_own_miss(self) -> None:
        """A node that refuses this router's poll is down, which is told; others go on from here."""
        address = self.mine(ONE, TWO)
        self.start([address], ONE, TWO)
        self.http.down.add(str(address))
        self.pass_time(1.1 * INTERVAL)
        self.assertEqual(self.state(address), State.DOWN)
        self.assertEqual([told for told, _ in self.teller.told], [address])
        self.pass_time(1.0)
        self.assertEqual(self.polls(address), 1, "the next in order polls it")
        self.hear(address, ONE)
        self.assertEqual(self.state(address), State.UP)
        self.pass_time(1.4 * INTERVAL)
        self.assertEqual(self.polls(address), 1, "the owner is passed over as long as others can")

    def test_heard_miss(self) -> None:
        """A node that another member missed is suspect, and polled here at once if in order."""
        address = self.of(ONE)
        self.start([address], ONE)
        self.hear_miss(address, ONE)
        self.assertEqual(self.state(address), State.SUSPECT)
        self.pass_time(0.2)
        self.assertEqual(self.polls(address), 1)
        self.assertEqual(self.state(address), State.UP)
        self.pass_time(INTERVAL)
        self.assertEqual(self.polls(address), 2, "it polls the node from now on")

    def test_own_fault(self) -> None:
        """Failures of a member that failed before, while others did not, change nothing."""
        address = self.of(ONE)
        self.start([address], ONE)
        self.hear_miss(address, ONE)
        self.pass_time(0.2)
        self.hear_miss(address, ONE)
        self.assertEqual(self.state(address), State.UP)
        self.pass_time(0.2)
        self.assertEqual(self.polls(address), 1)

    def test_blind(self) -> None:
        """A router that reaches no node goes by what it hears, until it is alone."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear(address)
        self.pass_time(2 * INTERVAL + 0.2)  # nothing is heard for so long that it polls
        self.assertEqual((self.polls(address), self.state(address)), (1, State.UP))
        self.shares.set_members([])
        self.poller.members_changed()
        self.pass_time(2 * INTERVAL)
        self.assertEqual(self.state(address), State.DOWN)

    def test_blind_and_nothing_heard(self) -> None:
        """A node out of reach is down once no member has had a report of it for three intervals."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear(address)
        self.pass_time(2.9 * INTERVAL)
        self.assertEqual(self.state(address), State.UP)
        self.pass_time(1.3 * INTERVAL)
        self.assertEqual(self.state(address), State.DOWN)

    def test_blind_goes_by_others(self) -> None:
        """A node that only the others reach is down once they miss it, too."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear(address)
        self.assertEqual(self.state(address), State.UP)
        self.pass_time(INTERVAL)
        self.hear_miss(address, ONE)
        self.assertEqual(self.state(address), State.DOWN)

    def test_blind_confirms(self) -> None:
        """A node that another router missed, too, is down for a router that reaches no node."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE, TWO)
        self.hear(address)
        self.hear_miss(address, ONE)
        self.hear_miss(address, TWO)
        self.assertEqual(self.state(address), State.DOWN)

    def test_not_in_order(self) -> None:
        """A node that another member missed is left to the next in order, if that is another."""
        first, second = (ONE, TWO), (TWO, ONE)
        shares = Shares(ME)
        shares.set_members(first)
        for address in NODES:
            share = shares.add(address)
            if shares.owner(share) == ONE:
                shares.failed(share, ONE)
                if not shares.is_mine(share):
                    break
        self.start([address], *second)
        self.hear_miss(address, ONE)
        self.pass_time(INTERVAL)
        self.assertEqual((self.polls(address), self.state(address)), (0, State.SUSPECT))
        self.hear_miss(address, TWO, "connection refused")
        self.assertEqual(self.state(address), State.DOWN)
        self.assertEqual(
            self.lines[-1],
            f"warn: {address} is down: connection refused (found by other routers)",
        )
        self.pass_time(0.2)
        self.assertEqual(self.polls(address), 1, "the last in order polls it")

    def test_confirmed(self) -> None:
        """A node that another member missed is down when this router's poll runs out of time."""
        address = self.of(ONE)
        self.start([address], ONE, timeout=1.0)
        self.http.silent.add(str(address))
        self.hear_miss(address, ONE)
        self.pass_time(1.3)
        self.assertEqual(self.state(address), State.DOWN)

    def test_all_failed(self) -> None:
        """Once all have failed, the owner polls a node after longer and longer times."""
        address = self.mine(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear_miss(address, ONE)
        self.pass_time(7.0)
        self.assertEqual(self.polls(address), 3, "after 1, 2 and 3 seconds")

    def test_all_failed_of_other(self) -> None:
        """Once all have failed, others than the owner poll a node only as a backup."""
        address = self.of(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear_miss(address, ONE)
        self.pass_time(1.4 * INTERVAL)
        self.assertEqual(self.polls(address), 0)

    def test_failed_long_ago(self) -> None:
        """A router whose last poll failed long ago polls at once when the others fail, too."""
        address = self.mine(ONE)
        self.http.down.add(str(address))
        self.start([address], ONE)
        self.hear(address, ONE)
        self.http.down.clear()
        self.pass_time(1.0)
        self.hear_miss(address, ONE)
        self.pass_time(1.2)
        self.assertEqual(self.polls(address), 1)
        self.assertEqual(self.state(address), State.UP)

    def test_old_miss(self) -> None:
        """A failure before the last report only shows which member cannot reach the node."""
        address = self.of(ONE)
        self.start([address], ONE, TWO)
        self.hear(address, TWO)
        at = self.clock.seconds() - 0.1
        self.poller.missed_elsewhere(self.share(address), ONE, "no route", at)
        self.assertEqual(self.state(address), State.UP)
        self.assertEqual(self.share(address).failed, {ONE})

    def test_old_report(self) -> None:
        """A report from before a failure says nothing of it: the node is polled no sooner."""
        address = self.mine(ONE, TWO)
        self.http.down.add(str(address))
        self.start([address], ONE, TWO)
        self.hear_miss(address, ONE)
        self.hear_miss(address, TWO)
        self.pass_time(8.0)  # it is polled once an interval by now
        self.forget()
        at = self.clock.seconds() - 9.0
        self.poller.reported_elsewhere(self.share(address), ONE, report("llm"), at)
        self.assertEqual(self.share(address).failed, {ME, ONE, TWO})
        self.pass_time(2 * INTERVAL)
        self.assertEqual((self.state(address), self.polls(address)), (State.DOWN, 2))

    def test_unshared(self) -> None:
        """A node whose reports are not shared is polled by this router, too; until they are."""
        address = self.of(ONE)
        self.start([address], ONE)
        self.poller.unshared(self.share(address))
        self.pass_time(2.6 * INTERVAL)
        self.assertEqual(self.polls(address), 2)
        self.hear(address)
        self.forget()
        self.pass_time(1.4 * INTERVAL)
        self.assertEqual(self.polls(address), 0)

    def test_limited(self) -> None:
        """A node that answers 429 keeps its last report; nobody takes it for down."""
        address = self.mine(ONE)
        self.start([address], ONE)
        self.http.limited.add(str(address))
        self.pass_time(2 * INTERVAL)
        self.assertEqual((self.state(address), self.teller.told), (State.UP, []))

    def test_removed_while_polled(self) -> None:
        """A node that is removed while it is polled, or between two messages, is forgotten."""
        address = self.mine(ONE)
        self.start([address], ONE)
        share = self.share(address)
        self.http.silent.add(str(address))
        self.pass_time(1.1 * INTERVAL)
        self.fleet.replace([])
        self.pass_time(0.2)
        self.poller.reported_elsewhere(share, ONE, report("llm"), self.clock.seconds())
        self.poller.missed_elsewhere(share, ONE, "no route", self.clock.seconds())
        self.poller.unshared(share)
        self.pass_time(INTERVAL)
        self.assertEqual((self.teller.told, self.polls(address)), ([], 1))

    def test_looks_in_slices(self) -> None:
        """After the members changed, the nodes are looked at in several ticks if there are many."""
        many = [parse_address(f"10.1.{n // 250}.{n % 250}") for n in range(500)]
        self.start(many, ONE)
        self.shares.set_members([])
        self.poller.members_changed()
        self.slow = 0.0005
        self.poller.ticked(self.clock.seconds())
        self.slow = 0.0
        looked = sum(share.is_mine for share in self.shares.each())
        self.assertTrue(0 < looked < 500)
        self.pass_time(0.2)
        self.assertTrue(all(share.is_mine for share in self.shares.each()))
