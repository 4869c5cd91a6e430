"""Tests of infernet_router.replicas.shares."""

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.replicas.shares import Share, Shares, key_of

NODES = [parse_address(f"10.0.{n // 250}.{n % 250}:4000") for n in range(3000)]
MEMBERS = [Random(n).getrandbits(64) for n in range(10)]
ONE, TWO, THREE = MEMBERS[:3]


def shares_of(me: int, *others: int) -> Shares:
    """The shares of a member that knows these others."""
    shares = Shares(me)
    for address in NODES[:300]:
        shares.add(address)
    shares.set_members(others)
    return shares


class SharesTests(SynchronousTestCase):
    def one(self, shares: Shares) -> Share:
        share = shares.of(NODES[0])
        assert share is not None
        return share

    def test_alone(self) -> None:
        """All nodes are polled by the only member."""
        shares = shares_of(ONE)
        self.assertTrue(all(map(shares.is_mine, shares.each())))

    def test_divided(self) -> None:
        """Each node is polled by exactly one member, and all members by about the same number."""
        each = [shares_of(me, *MEMBERS) for me in MEMBERS]
        owners = Counter[int]()
        for address in NODES[:300]:
            mine = [shares.me for shares in each if shares.is_mine(shares.of(address))]  # type: ignore[arg-type]
            self.assertEqual(len(mine), 1)
            owners.update(mine)
        self.assertEqual(owners.keys(), set(MEMBERS))
        self.assertLess(max(owners.values()), 60)

    def test_even(self) -> None:
        """Two and three members divide many nodes evenly, within a tenth."""
        for members in ([ONE, TWO], [ONE, TWO, THREE]):
            shares = Shares(ONE)
            shares.set_members(members)
            owners = Counter(shares.owner(shares.add(address)) for address in NODES)
            for count in owners.values():
                self.assertApproximates(count * len(members) / len(NODES), 1.0, 0.1)

    def test_difference(self) -> None:
        """When a member comes, only what it gets changes its owner; when it goes, that returns."""
        shares = shares_of(ONE, TWO)
        before = {share: shares.owner(share) for share in shares.each()}
        self.assertTrue(shares.set_members([TWO, THREE]))
        self.assertFalse(shares.set_members([THREE, TWO, ONE]))
        during = {share: shares.owner(share) for share in shares.each()}
        self.assertEqual(
            {during[share] for share in during if during[share] != before[share]}, {THREE}
        )
        shares.set_members([TWO])
        self.assertEqual({share: shares.owner(share) for share in shares.each()}, before)

    @given(st.lists(st.sets(st.sampled_from(MEMBERS)), max_size=12), st.randoms())
    def test_any_order(self, memberships: list[set[int]], random: Random) -> None:
        """However the members came and went, and whenever an owner is asked for, all agree."""
        shares = Shares(ONE)
        each = [shares.add(address) for address in NODES[:20]]
        for members in memberships:
            shares.set_members(members)
            for share in random.sample(each, 5):
                shares.owner(share)
        fresh = Shares(ONE)
        fresh.set_members(memberships[-1] if memberships else ())
        for share in each:
            self.assertEqual(shares.owner(share), fresh.owner(fresh.add(share.address)))

    def test_failed(self) -> None:
        """A member whose last poll failed is passed over, until its poll succeeds."""
        shares = shares_of(ONE, TWO, THREE)
        share = self.one(shares)
        order = []
        while not shares.all_failed(share):
            (turn,) = [m for m in (ONE, TWO, THREE) if _with(m, share, shares)]
            order.append(turn)
            shares.failed(share, turn)
        self.assertEqual(set(order), {ONE, TWO, THREE})
        self.assertEqual(order[0], shares.owner(share))
        # All have failed, so that it is the owner's turn again.
        self.assertTrue(_with(order[0], share, shares))
        self.assertFalse(_with(order[1], share, shares))

    def test_answered(self) -> None:
        """A success clears the failure of that member, or all of them when all had failed."""
        shares = shares_of(ONE, TWO)
        share = self.one(shares)
        shares.failed(share, ONE)
        shares.answered(share, TWO)
        self.assertEqual(share.failed, {ONE})
        shares.answered(share, ONE)
        self.assertIsNone(share.failed)
        for member in (ONE, TWO):
            shares.failed(share, member)
        shares.answered(share, TWO)
        self.assertIsNone(share.failed)

    def test_confirmed(self) -> None:
        """Failures of two members confirm each other, unless there was a report in between."""
        shares = shares_of(ONE, TWO, THREE)
        share = self.one(shares)
        self.assertEqual(shares.failed(share, TWO), 1)
        self.assertEqual(shares.failed(share, TWO), 1)
        self.assertEqual(shares.failed(share, THREE), 2)
        shares.answered(share, THREE)
        self.assertEqual(shares.failed(share, THREE), 1)

    def test_own_fault(self) -> None:
        """Failures of a member that failed before, while another did not, do not count."""
        shares = shares_of(ONE, TWO, THREE)
        share = self.one(shares)
        shares.failed(share, TWO)
        shares.answered(share, ONE)
        self.assertEqual(shares.failed(share, TWO), 0)
        self.assertEqual(shares.failed(share, ONE), 1)
        self.assertEqual(shares.failed(share, TWO), 1)
        shares.answered(share, TWO)
        self.assertEqual(shares.failed(share, TWO), 1)

    def test_gone(self) -> None:
        """The failure of a member that is gone is forgotten with the next failure."""
        shares = shares_of(ONE, TWO)
        share = self.one(shares)
        shares.failed(share, TWO)
        shares.set_members([THREE])
        self.assertFalse(shares.all_failed(share))
        shares.failed(share, ONE)
        self.assertEqual(share.failed, {ONE})

    def test_for_all(self) -> None:
        """A node whose reports are not shared is polled by all."""
        shares = shares_of(ONE, *MEMBERS)
        share = next(share for share in shares.each() if not shares.is_mine(share))
        share.for_all = True
        self.assertTrue(shares.is_mine(share))

    def test_removed(self) -> None:
        """A node that was removed has no share."""
        shares = shares_of(ONE)
        key = self.one(shares).key
        self.assertIs(shares.with_key(key), shares.of(NODES[0]))
        shares.remove(NODES[0])
        self.assertIsNone(shares.of(NODES[0]))
        self.assertIsNone(shares.with_key(key))

    def test_keys(self) -> None:
        """All spellings of an address have the same key, which no release may change."""
        keys = {key_of(parse_address(text)) for text in ("192.0.2.1:80", "http://192.0.2.1/")}
        self.assertEqual([key.hex() for key in keys], ["0a040831116707da"])


def _with(me: int, share: Share, shares: Shares) -> bool:
    """Whether it is this member's turn."""
    was, shares.me = shares.me, me
    is_mine = shares.is_mine(share)
    shares.me = was
    return is_mine
