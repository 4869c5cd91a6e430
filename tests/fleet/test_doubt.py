"""Tests of infernet_router.fleet.doubt."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.doubt import Doubt


class DoubtTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.doubt = Doubt()
        self.now = 100.0

    def unseen(self, times: int, chance: float = 1.0) -> None:
        """So many reports, a second apart, do not show the node at work."""
        for _ in range(times):
            self.now += 1.0
            self.doubt.unseen(chance, self.now)

    def is_cut(self) -> bool:
        """Whether the node gets no job while another has time."""
        return self.doubt.factor > 1.0

    def test_new(self) -> None:
        """Nothing speaks against a new node."""
        self.assertEqual((self.doubt.share, self.doubt.factor, self.doubt.looks), (0.0, 1.0, ()))

    def test_doubted(self) -> None:
        """It takes three reports that should show a job, and more that only might."""
        self.unseen(2)
        self.assertFalse(self.is_cut())
        self.unseen(1)
        self.assertTrue(self.is_cut())
        self.doubt = Doubt()
        self.unseen(5, chance=0.4)
        self.assertFalse(self.is_cut())
        self.unseen(3, chance=0.4)
        self.assertTrue(self.is_cut())

    def test_nothing_to_show(self) -> None:
        """Reports that cannot show a job are no evidence."""
        self.unseen(1000, chance=0.0)
        self.assertEqual(self.doubt.share, 0.0)

    def test_seen_at_work(self) -> None:
        """One report that shows the node at work ends all doubt."""
        for _ in range(20):
            self.unseen(2)
            self.doubt.seen_at_work()
        self.assertEqual((self.doubt.share, self.doubt.false_alarms), (0.0, 0))

    def test_retries(self) -> None:
        """A doubted node gets single jobs, three times as long apart each time."""
        self.unseen(3)
        times = []
        for _ in range(2000):
            self.unseen(1)
            if not self.is_cut():
                times.append(self.now - 103.0)
                self.assertTrue(self.doubt.assigned(self.now))
            self.assertFalse(self.doubt.assigned(self.now))
            self.assertTrue(self.is_cut())
        self.assertEqual(times[:6], [3.0, 12.0, 39.0, 120.0, 363.0, 663.0])

    def test_looks(self) -> None:
        """A node against which there is some evidence is looked at, a doubted one more often."""
        self.unseen(1, chance=0.2)
        self.assertEqual(self.doubt.looks, ())
        self.unseen(1)
        self.assertEqual(len(self.doubt.looks), 1)
        self.unseen(2)
        self.assertEqual(len(self.doubt.looks), 3)

    def test_false_alarms(self) -> None:
        """Each false alarm makes the next doubt take more evidence, up to a limit."""
        needed = []
        for _ in range(5):
            count = 0
            while not self.is_cut():
                self.unseen(1)
                count += 1
            needed.append(count)
            self.doubt.seen_at_work()
        self.assertEqual(needed, [3, 6, 9, 12, 12])
