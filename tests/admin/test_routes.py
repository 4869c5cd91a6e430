"""Tests of infernet_router.admin.routes."""

from infernet_router.admin.access import Role
from tests.admin.case import A, AdminTestCase


class RouteTests(AdminTestCase):
    def test_node(self) -> None:
        """A node is found by its address, percent-encoded or not, and has all fields."""
        self.give("bob", Role.OPERATOR, "secret")
        headers = {"Authorization": "Bearer secret", "Content-Type": "application/json"}
        path = "/admin/v1/nodes/https%3A%2F%2Fnode.invalid%2Fb/override"
        body = b'{"drain": true, "weight": 2, "force": true}'
        override = self.read(path, method="PUT", headers=headers, body=body)
        node = self.read("/admin/v1/nodes/https%3A%2F%2Fnode.invalid%2Fb")
        self.assertEqual(
            {name: node[name] for name in node if name not in ("jobs", "rate")},
            {
                "address": "https://node.invalid/b",
                "state": "drained",
                "since": "1970-01-01T00:16:40.000Z",
                "reason": "",
                "containers": ["llm", "prover"],
                "pending": 0,
                "report_age_seconds": 0.0,
                "assigned": 0.0,
                "doubt": 0.0,
                "in_doubt": "",
                "utilization": 0.5,
                "weight": 2.0,
                "override": override,
                "sources": ["/ips.txt"],
                "history": [{"time": "1970-01-01T00:16:40.000Z", "state": "up", "reason": ""}],
                "decisions": [],
            },
        )
        self.assertEqual(self.read("/admin/v1/nodes/192.0.2.1:4000")["pending"], 2)
        self.assertIsNone(self.read("/admin/v1/nodes/192.0.2.1%3a4000")["override"])

    def test_no_node(self) -> None:
        """An address that is not in the fleet is 404, and what is no address 400."""
        self.assert_error("/admin/v1/nodes/192.0.2.9", 404, "there is no node 192.0.2.9")
        self.assertEqual(self.ask("/admin/v1/nodes/a%20b").status, 400)
        self.assertEqual(self.ask("/admin/v1/nodes/%ff").status, 400)
        self.assertEqual(self.ask("/admin/v1/nodes/https://node.invalid/b").status, 404)

    def test_containers(self) -> None:
        """Containers are listed with their nodes by state, those on most nodes first."""
        found = self.read("/admin/v1/containers")["containers"]
        self.assertEqual([container["id"] for container in found], ["llm", "prover"])
        self.assertEqual((found[0]["description"], found[0]["nodes"]), ("a model", {"up": 2}))
        for name in ("jobs", "capacity_jobs_per_second", "utilization"):
            self.assertGreaterEqual(found[0][name], 0)
        self.fleet.replace([])
        self.clock.advance(1)
        self.assertEqual(self.read("/admin/v1/containers"), {"containers": []})

    def test_sources(self) -> None:
        """Each source has its addresses, when it was good last, and what is wrong."""
        source = {
            "name": "/ips.txt",
            "kind": "file",
            "addresses": 3,
            "last_success": "1970-01-01T00:16:40.000Z",
            "reason": "",
            "flaw": "",
        }
        self.assertEqual(self.read("/admin/v1/sources"), {"sources": [source]})
        self.sources.failed("http://explorer.invalid", "HTTP 500")
        explorer = self.read("/admin/v1/sources")["sources"][1]
        self.assertEqual((explorer["kind"], explorer["last_success"]), ("explorer", None))
        self.assertEqual(explorer["reason"], "HTTP 500")

    def test_others(self) -> None:
        """Options and overrides are objects with one key."""
        self.assertEqual(self.read("/admin/v1/options"), {"options": {"interval": 3.0}})
        self.assertEqual(self.read("/admin/v1/overrides"), {"overrides": []})

    def test_ages(self) -> None:
        """Instants are shown as the time of day that they were."""
        self.clock.advance(86_400)
        node = self.read("/admin/v1/nodes/192.0.2.1:4000")
        self.assertEqual(node["since"], "1970-01-01T00:16:40.000Z")
        self.assertEqual(node["report_age_seconds"], 86_400.0)
        self.assertIsNotNone(self.fleet.view(A))
