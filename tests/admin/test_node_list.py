"""Tests of infernet_router.admin.node_list."""

from random import Random
from typing import Any

from infernet_router.fleet import Tier
from tests.admin.case import A, AdminTestCase, B, C
from tests.doubles import addresses, report


class NodeListTests(AdminTestCase):
    def listed(self, query: str) -> Any:
        """The addresses that a query finds."""
        return [node["address"] for node in self.read(f"/admin/v1/nodes?{query}")["nodes"]]

    def test_filter(self) -> None:
        """Nodes are found by state, container, and text in address, reason or container."""
        a, b, c = map(str, (A, B, C))
        self.fleet.override(B, Tier.DRAINED)
        for query, found in (
            ("", [a, c, b]),
            ("state=up", [a]),
            ("state=down", [c]),
            ("state=drained", [b]),
            ("state=unknown", []),
            ("container=llm", [a, b]),
            ("container=llm&container=prover", [b]),
            ("container=ll", []),
            ("q=PROVE", [b]),
            ("q=http+500", [c]),
            ("q=2.1", [a]),
            ("state=&container=&q=&sort=&order=&offset=&limit=", [a, c, b]),
        ):
            self.assertEqual(self.listed(query), found, query)

    def test_sort(self) -> None:
        """Any number or text sorts, in both orders; nodes without a value come last."""
        a, b, c = map(str, (A, B, C))
        for query, found in (
            ("sort=pending", [b, a, c]),
            ("sort=pending&order=desc", [a, b, c]),
            ("sort=address&order=desc", [b, c, a]),
            ("sort=reason&order=desc", [c, b, a]),
            ("sort=utilization", [b, a, c]),
            ("sort=jobs&order=desc&limit=1", [a]),
            ("sort=address&offset=1&limit=1", [c]),
            ("sort=address&offset=9", []),
            ("limit=0", []),
        ):
            self.assertEqual(self.listed(query), found, query)
        for field in (
            "state",
            "since",
            "rate",
            "report_age_seconds",
            "assigned",
            "doubt",
            "weight",
        ):
            self.assertEqual(self.read(f"/admin/v1/nodes?sort={field}")["total"], 3, field)

    def test_bad(self) -> None:
        """Anything else is refused, with what is right."""
        for query in (
            *("state=dow", "sort=containers", "sort=x", "order=up", "offset=-1", "limit=1001"),
            *("limit=x", "stat=up", "q=a&q=b", "state=up&state=x", "offset=1e3"),
        ):
            self.assertEqual(self.ask(f"/admin/v1/nodes?{query}").status, 400, query)

    def test_many(self) -> None:
        """Pages of thousands of nodes are sorted as one list."""
        random = Random(1)
        texts = (f"198.51.{high}.{low}:4000" for high in range(10) for low in range(250))
        many = addresses(*texts)
        self.fleet.replace(many)
        for address in many:
            self.fleet.observed(address, report("llm", pending=random.randrange(1000)))
        found = [
            node["pending"]
            for offset in range(0, len(many), 1000)
            for node in self.read(
                f"/admin/v1/nodes?sort=pending&order=desc&limit=1000&offset={offset}"
            )["nodes"]
        ]
        self.assertEqual(len(found), len(many))
        self.assertEqual(found, sorted(found, reverse=True))
