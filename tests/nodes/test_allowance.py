"""Tests of infernet_router.nodes.allowance."""

from itertools import count
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes import allowance
from infernet_router.nodes.allowance import Allowance, Exceeded

MOST = 50


class AllowanceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.allowance = Allowance(MOST)
        self.now = 1000.0
        self.numbers = count()

    def take(self, client: str, question: str | None = None) -> bool:
        """Whether a question, by default a new one, is allowed."""
        try:
            self.allowance.take(client, question or f"q{next(self.numbers)}", self.now)
        except Exceeded:
            return False
        return True

    def refusal(self, client: str, question: str | None = None) -> Exceeded:
        with self.assertRaises(Exceeded) as caught:
            self.allowance.take(client, question or f"q{next(self.numbers)}", self.now)
        exceeded: Exceeded = caught.exception
        return exceeded

    def test_alone(self) -> None:
        """A client alone may ask half of the questions at once, and then as many as there are."""
        self.assertEqual(sum(self.take("a") for _ in range(100)), MOST // 2 + 1)
        self.now += 60
        self.assertTrue(self.take("a"))
        allowed = 0
        for _ in range(1200):
            self.now += 0.1
            allowed += self.take("a")
        self.assertIn(allowed, range(MOST // 2 + 2 * MOST - 3, MOST // 2 + 2 * MOST + 3))

    def test_all(self) -> None:
        """All clients together get no more than there is, in any minute."""
        random, allowed = Random(1), []
        for _ in range(10_000):
            self.now += 0.02
            if self.take(str(random.randrange(300))):
                allowed.append(self.now)
        self.assertLessEqual(len(allowed), MOST + 200 * MOST / 60 + 1)
        self.assertGreater(len(allowed), 200 * MOST / 60 - 1)

    def test_honest(self) -> None:
        """Who asks little is served while one or many others ask for all they can."""
        for greedy in (1, 2, 10, 300):
            self.setUp()
            random, honest = Random(1), 0
            for second in range(100):
                for _ in range(max(20, 5 * greedy)):
                    self.now += 1 / max(20, 5 * greedy)
                    self.take(f"greedy {random.randrange(greedy)}")
                if second % 10 == 9:
                    honest += self.take(f"honest {second}") and self.take("regular")
            self.assertEqual(honest, 10, greedy)

    def test_moderate(self) -> None:
        """A client that asks for less than its share is not affected by others that ask for all."""
        random = Random(1)
        for second in range(300):
            for _ in range(100):
                self.now += 0.01
                self.take(f"greedy {random.randrange(10)}")
            if second > 60 and second % 3 == 0:
                self.assertTrue(self.take("moderate"), second)

    def test_again(self) -> None:
        """A question that is asked again within a minute counts once for its client."""
        for _ in range(5):
            self.assertTrue(self.take("a", "same"))
        self.assertTrue(self.take("a", "other"))
        while self.take(f"b{next(self.numbers)}"):
            pass
        self.assertEqual(self.refusal("a", "same").asked, 2)
        self.now += 60.1
        while self.take(f"c{next(self.numbers)}"):
            pass
        self.assertEqual(self.refusal("a", "same").asked, 1)

    def test_refusal(self) -> None:
        """A refusal says what the client has asked, what is left, and when to ask again."""
        while self.take("a"):
            pass
        refusal = self.refusal("a", "x")
        self.assertEqual((refusal.asked, refusal.left), (MOST // 2, MOST // 2 - 1))
        self.assertIn(refusal.wait, (1, 2))
        self.now += refusal.wait
        self.assertTrue(self.take("a", "x"))
        while self.take(f"b{next(self.numbers)}"):
            pass
        refusal = self.refusal("c")
        self.assertEqual((refusal.asked, refusal.left), (1, 0))
        for _ in range(9):
            last = self.refusal("c")
        self.assertEqual((last.asked, last.wait), (10, 12))

    def test_bounded(self) -> None:
        """The client that has not asked for longest is forgotten when there are too many."""
        self.patch(allowance, "_MAX_CLIENTS", 3)
        while self.take(f"b{next(self.numbers)}"):
            pass
        for client, asked in (("a", 1), ("b", 1), ("c", 1), ("a", 2), ("d", 1), ("b", 1), ("a", 3)):
            self.assertEqual(self.refusal(client).asked, asked)
