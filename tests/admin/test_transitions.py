"""Tests of infernet_router.admin.transitions."""

from tests.admin.case import A, AdminTestCase, C
from tests.doubles import report


class TransitionsTests(AdminTestCase):
    def test_history(self) -> None:
        """A node has its ups and downs, newest first, each with its time and reason."""
        self.clock.advance(5)
        self.fleet.missed(A, "timeout after 3 s", timed_out=True)
        self.clock.advance(1)
        self.fleet.missed(A, "connection refused")
        self.fleet.missed(A, "HTTP 500")
        self.clock.advance(1)
        self.fleet.observed(A, report("llm"))
        self.assertEqual(
            list(self.transitions.of(A)),
            [
                (1007.0, "up", ""),
                (1006.0, "down", "connection refused"),
                (1005.0, "suspect", "timeout after 3 s"),
                (1000.0, "up", ""),
            ],
        )
        self.assertEqual(list(self.transitions.of(C)), [(1000.0, "down", "HTTP 500")])
        self.assertEqual(self.transitions.counts, {"up": 3, "suspect": 1, "down": 2})

    def test_bounded(self) -> None:
        """Only the last ones are remembered; all are counted."""
        for _ in range(15_000):
            self.fleet.missed(A, "HTTP 500")
            self.fleet.observed(A, report("llm"))
        self.assertEqual(len(list(self.transitions.of(A))), 20_000)
        self.assertEqual(self.transitions.counts["down"], 15_001)
