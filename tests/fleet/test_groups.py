"""Tests of infernet_router.fleet.groups."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.groups import Candidate, Group, Tier, bits_of, indices_of


class GroupTests(SynchronousTestCase):
    def test_bits(self) -> None:
        """The bits are those of the members, however many there are, and as these change."""
        random, group = Random(3), Group()
        members: set[int] = set()
        for number in range(4000):
            index, member = random.randrange(700), random.random() < (0.3 if number > 2500 else 0.7)
            group.set(Candidate(index), member)
            (members.add if member else members.discard)(index)
            if not number % 100:
                self.assertEqual(group.bits, bits_of(members))
        self.assertEqual(set(group), members)

    def test_of(self) -> None:
        """A group made of members by tier is like one to which they were added."""
        group = Group([[3, 4], [5]])
        self.assertEqual([list(tier) for tier in group.serving], [[3, 4], [5]])
        node = Candidate(5)
        node.tier = Tier.FULL
        group.set(node, False)
        group.set(Candidate(3), False)
        self.assertEqual([list(tier) for tier in group.serving], [[4], []])
        self.assertEqual((len(group), list(group), bool(group)), (1, [4], True))

    @given(st.sets(st.integers(0, 2000)))
    def test_indices(self, indices: set[int]) -> None:
        """Bits and indices stand for each other."""
        self.assertEqual(indices_of(bits_of(indices)), sorted(indices))
