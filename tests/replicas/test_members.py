"""Tests of infernet_router.replicas.members."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.replicas.batches import Head
from infernet_router.replicas.members import Members

ME, ONE, TWO = b"my own 8", b"member 1", b"member 2"


class MembersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 100.0
        self.members = Members(ME)

    def hear(self, sender: bytes, sent: float, number: int = 1) -> float | None:
        return self.members.hear(Head(sender, number, sent), self.now)

    def test_present(self) -> None:
        """A member is there for two seconds after it was heard, or until it says bye."""
        self.hear(ONE, 5.0)
        self.hear(TWO, 7000.0)
        self.assertEqual(self.members.look(101.9), {ONE, TWO})
        self.now = 101.0
        self.hear(TWO, 7001.0)
        self.assertEqual(self.members.look(102.1), {TWO})
        self.members.leave(TWO)
        self.assertEqual(self.members.look(102.1), set())

    def test_alone(self) -> None:
        """A router is alone until it has heard itself for a moment, and after 2 s without that."""
        self.assertTrue(self.members.is_alone(self.now))
        self.hear(ONE, 5.0)
        self.assertTrue(self.members.is_alone(self.now))
        for self.now in (100.0, 100.5, 101.0):
            self.hear(ME, self.now - 0.01)
        self.assertEqual(self.members.look(101.0), {ONE})
        self.assertFalse(self.members.is_alone(101.0))
        self.assertApproximates(self.members.echo, 0.01, 1e-9)
        self.members.look(103.1)
        self.assertTrue(self.members.is_alone(103.1))
        self.now = 103.2
        self.hear(ME, 103.19)
        self.assertTrue(self.members.is_alone(103.2))

    def test_lost(self) -> None:
        """Numbers that are missing between the batches of another member count as lost."""
        for sender, number in ((ONE, 7), (ONE, 8), (TWO, 0), (ONE, 11), (ONE, 11), (TWO, 2)):
            self.hear(sender, 5.0, number)
        self.assertEqual(self.members.lost, 3)
        self.members.leave(ONE)
        self.hear(ONE, 5.0, 20)
        self.hear(ME, 5.0, 1)
        self.hear(ME, 5.0, 9)
        self.assertEqual(self.members.lost, 3)

    def test_dated(self) -> None:
        """A batch was sent when the fastest of its sender would have been, by this clock."""
        self.assertEqual(self.hear(ONE, 5.0), 100.0)
        self.now = 101.0
        self.assertEqual(self.hear(ONE, 5.9), 100.9)
        self.now = 102.0
        self.assertEqual(self.hear(ONE, 7.1), 102.0)

    def test_late(self) -> None:
        """A batch that took a second longer than the fastest is late, and is no sign of life."""
        self.hear(ONE, 5.0)
        self.now = 103.0
        self.assertIsNone(self.hear(ONE, 6.9))
        self.assertEqual(self.members.look(103.0), set())
        self.assertEqual(self.hear(ONE, 7.1), 102.1)
        self.assertEqual(self.members.look(103.0), {ONE})

    def test_late_after_silence(self) -> None:
        """What a server delivers that stood still for 15 s is late, though all were gone."""
        self.hear(ONE, 5.0)
        self.hear(ME, 100.0)
        self.members.look(115.0)
        self.now = 115.0
        self.assertIsNone(self.hear(ONE, 6.0))
        self.assertIsNone(self.hear(ME, 101.0))
        self.assertEqual(self.members.look(115.0), set())
        self.assertEqual(self.hear(ONE, 20.0), 115.0)

    def test_clock_shifted(self) -> None:
        """After the machine of a member slept, it takes a minute until it is believed again."""
        self.hear(ONE, 5.0)
        heard = []
        for second in range(1, 80):
            self.now = 100.0 + second
            heard.append(self.hear(ONE, 5.0 + second - 30.0) is not None)
        self.assertFalse(any(heard[:30]))
        self.assertTrue(all(heard[62:]))

    def test_paused(self) -> None:
        """A router that stood still does not take all others for gone."""
        self.hear(ONE, 5.0)
        self.hear(ME, 100.0)
        self.now = 119.9
        self.hear(TWO, 24.9)
        self.members.paused(20.0, 120.0)
        self.assertEqual(self.members.look(120.1), {ONE, TWO})
        self.assertFalse(self.members.is_alone(120.1))
        self.assertEqual(self.members.look(122.1), set())

    def test_forgotten(self) -> None:
        """A sender is forgotten after a minute; there are never more than 64."""
        for number in range(100):
            self.hear(b"%8d" % number, 1.0)
        self.assertEqual(len(self.members.look(self.now)), 64)
        self.assertIsNone(self.hear(ONE, 5.0))
        self.members.look(160.5)
        self.now = 161.0
        self.assertIsNotNone(self.hear(ONE, 5.0))
        self.assertEqual(self.members.look(161.0), {ONE})

    def test_no_echo(self) -> None:
        """The echo is unknown at first."""
        self.assertEqual(self.members.echo, inf)
