"""Tests of infernet_router.admin.node_map."""

from infernet_router.admin import node_map
from tests.admin.case import A, AdminTestCase, B


class NodeMapTests(AdminTestCase):
    def test_map(self) -> None:
        """The map has a letter and an address for each node, and says what letters mean."""
        self.patch(node_map, "_STEP", 2)
        found = self.read("/admin/v1/map")
        self.assertEqual(
            found["addresses"], ["192.0.2.1:4000", "https://node.invalid/b", "192.0.2.3:4000"]
        )
        self.assertEqual(found["states"], ["up", "suspect", "drained", "down", "unknown"])
        self.assertEqual(found["waits"], [1.0, 3.0, 10.0, 30.0, 60.0])
        self.assertEqual(found["letters"], "bas")
        self.assertNotIn("sets", found)

    def test_known(self) -> None:
        """Addresses that the reader has are left out, until the nodes are others."""
        known = self.read("/admin/v1/map")["list"]
        self.assertNotIn("addresses", self.read(f"/admin/v1/map?list={known}"))
        self.fleet.replace([A, B])
        self.clock.advance(1)
        changed = self.read(f"/admin/v1/map?list={known}")
        self.assertEqual(changed["addresses"], ["192.0.2.1:4000", "https://node.invalid/b"])
        self.assertNotEqual(changed["list"], known)

    def test_grouped(self) -> None:
        """The sets of containers are said to those who want them."""
        found = self.read("/admin/v1/map?grouped=1")
        self.assertEqual(found["sets"], [["llm"], ["llm", "prover"], []])
        self.assertEqual(found["set_of"], [0, 1, 2])
        self.assertEqual(self.ask("/admin/v1/map?grouped=yes").status, 400)

    def test_shared(self) -> None:
        """It is made once a second for all who look."""
        first = self.read("/admin/v1/map")
        self.fleet.missed(A, "gone")
        self.assertEqual(self.read("/admin/v1/map"), first)
        self.clock.advance(1)
        self.assertEqual(self.read("/admin/v1/map")["letters"][0], "s")
