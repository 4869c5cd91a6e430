"""Tests of infernet_router.admin.node_metrics."""

import re

from infernet_router.admin.node_metrics import lines
from tests.admin.case import A, AdminTestCase, B


class NodeMetricsTests(AdminTestCase):
    def lines(self, query: str = "") -> list[str]:
        text = self.ask(f"/metrics/nodes{query}", host=None).body.decode()
        return [line for line in text.splitlines() if not line.startswith("#")]

    def test_lines(self) -> None:
        """Each node has a line in each family; what is not known is left out."""
        lines = self.lines()
        self.assertIn('infernet_router_node_up{node="192.0.2.1:4000"} 1.0', lines)
        self.assertIn('infernet_router_node_up{node="192.0.2.3:4000"} 0.0', lines)
        self.assertIn('infernet_router_node_pending_jobs{node="192.0.2.1:4000"} 2.0', lines)
        self.assertFalse([line for line in lines if re.match(r".*pending.*192\.0\.2\.3", line)])

    def test_filter(self) -> None:
        """Only nodes of a state or with a container are listed; a wrong state is refused."""
        self.assertEqual(
            {line.split('"')[1] for line in self.lines("?state=down")}, {"192.0.2.3:4000"}
        )
        self.assertEqual(
            {line.split('"')[1] for line in self.lines("?container=prover")},
            {"https://node.invalid/b"},
        )
        self.assertEqual(self.ask("/metrics/nodes?state=x").status, 400)
        self.assertEqual(self.ask("/metrics/nodes", method="HEAD").body, b"")

    def test_gone(self) -> None:
        """A node that is gone in the middle is left out from then on."""
        found = lines(self.fleet, [A, B])
        self.assertTrue(next(found).startswith(b"# HELP infernet_router_node_up "))
        self.fleet.replace([B])
        self.assertEqual(
            next(found), b'infernet_router_node_up{node="https://node.invalid/b"} 1.0\n'
        )
        self.assertNotIn(b"192.0.2.1", b"".join(found))
