"""Tests of infernet_router.admin.replication."""

from collections import Counter

from infernet_router.addresses import NodeAddress
from tests.admin.case import AdminTestCase


class Replicas:
    """Three routers that share a fleet, until they cannot."""

    members = 3
    is_alone = False
    why_alone = "connection refused"
    echo: float | None = 0.002
    known_at: float | None = None

    def __init__(self) -> None:
        self.batches = Counter(sent=7, heard=12)

    def order_known_at(self, address: NodeAddress) -> float | None:
        return self.known_at

    def lose(self) -> None:
        self.members, self.is_alone, self.echo = 1, True, None


class ReplicationTests(AdminTestCase):
    def setUp(self) -> None:
        self.replication = Replicas()
        super().setUp()

    def series(self) -> dict[str, float]:
        self.clock.advance(1)
        lines = self.ask("/metrics").body.decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if "_replicas_" in line and "#" not in line]
        return {name.removeprefix("infernet_router_replicas_"): float(v) for name, v in pairs}

    def test_metrics(self) -> None:
        """The metrics say how many routers share the fleet, and what became of their messages."""
        self.assertEqual(
            self.series(),
            {
                "members": 3.0,
                "alone": 0.0,
                "echo_seconds": 0.002,
                'batches_total{result="sent"}': 7.0,
                'batches_total{result="failed"}': 0.0,
                'batches_total{result="heard"}': 12.0,
                'batches_total{result="late"}': 0.0,
                'batches_total{result="lost"}': 0.0,
                'batches_total{result="dropped"}': 0.0,
                'batches_total{result="malformed"}': 0.0,
            },
        )
        self.replication.lose()
        series = self.series()
        self.assertEqual((series["members"], series["alone"]), (1.0, 1.0))
        self.assertNotIn("echo_seconds", series)

    def test_overview(self) -> None:
        """So does the overview; that a router is alone is a problem."""
        overview = self.read("/admin/v1/overview")
        self.assertEqual(overview["replicas"], {"members": 3, "alone": False})
        self.replication.lose()
        self.clock.advance(1)
        overview = self.read("/admin/v1/overview")
        self.assertEqual(overview["replicas"], {"members": 1, "alone": True})
        problems = [problem["text"] for problem in overview["problems"]]
        self.assertIn(
            "this router is alone, and shares nothing with others: connection refused", problems
        )
