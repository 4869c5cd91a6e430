"""Tests of infernet_router.admin.choices, as its routes answer."""

from collections.abc import Callable

from twisted.internet.defer import succeed

from infernet_router.fleet import Among, Tier
from tests.admin.case import A, AdminTestCase, B, C, parsed
from tests.doubles import addresses, report

DECISIONS = "/admin/v1/decisions"
EXPLAIN = "/admin/v1/explain"
WHATIF = "/admin/v1/whatif"


class DecisionTests(AdminTestCase):
    def decide(self, *containers: str) -> str:
        """The id of a new decision."""
        picked = self.fleet.pick(containers or ("llm",))
        return self.ids.made(picked, self.fleet.decided, self.fleet.decided_at).decode()

    def test_decision(self) -> None:
        """A decision says what it was based on and, once the node has reported, what came next."""
        self.fleet.missed(B, "gone")
        id = self.decide()
        decision = self.read(f"{DECISIONS}/{id}")
        (compared,) = decision.pop("compared")
        self.assertEqual(compared["node"], str(A))
        self.assertEqual(set(compared), {"node", "cost", "jobs", "rate"})
        self.assertEqual(
            decision,
            {
                "id": id,
                "time": "1970-01-01T00:16:40.000Z",
                "containers": ["llm"],
                "node": str(A),
                "candidates": 1,
                "left_out": {"down": 1, "drained": 0, "full": 0, "excluded": 0, "suspect": 0},
                "margin": None,
                "after": None,
            },
        )
        self.clock.advance(1)
        self.fleet.observed(A, report("llm", pending=3))
        after = self.read(f"{DECISIONS}/{id}")["after"]
        self.assertEqual((after["reported_jobs"], after["age_seconds"]), (3.0, 1.0))
        self.assertGreater(after["expected_jobs"], 0)

    def test_margin(self) -> None:
        """The margin is how much more the next best node would have cost."""
        decision = self.read(f"{DECISIONS}/{self.decide()}")
        best, other = decision["compared"]
        self.assertEqual(best["node"], decision["node"])
        self.assertAlmostEqual(decision["margin"], other["cost"] - best["cost"], 2)

    def test_unknown(self) -> None:
        """An id that nobody was given is 404."""
        id = self.decide()
        for other in ("x", "0-0-0-0", id[:-1], "%ff", id.replace("1-", "2-", 1)):
            self.assertEqual(self.ask(f"{DECISIONS}/{other}").status, 404, other)

    def test_list(self) -> None:
        """The last decisions are listed newest first: for a container, or of a node."""
        ids = [self.decide(*asked) for asked in (("llm",), ("prover",), ("llm", "prover"))]

        def listed(query: str = "") -> list[str]:
            return [one["id"] for one in self.read(f"{DECISIONS}{query}")["decisions"]]

        self.assertEqual(listed(), ids[::-1])
        self.assertEqual(listed("?limit=1"), ids[2:])
        self.assertEqual(listed("?container=prover"), ids[:0:-1])
        self.assertEqual(listed("?container=x"), [])
        self.assertLessEqual(set(ids[1:]), set(listed(f"?node={B}")))
        self.assertEqual(listed(f"?node={C}"), [])
        for bad in ("?limit=0", "?limit=1001", "?node=a%20b", "?node=a:1&node=b:1"):
            self.assertEqual(self.ask(DECISIONS + bad).status, 400, bad)
        node = self.read("/admin/v1/nodes/https%3A%2F%2Fnode.invalid%2Fb")
        self.assertEqual([one["id"] for one in node["decisions"]], listed(f"?node={B}"))

    def test_long_list(self) -> None:
        """A long list is made in slices, so that clients are answered in between."""
        for _ in range(20):
            self.decide()
        shown, instant, waiting = 0, self.viewer.instant, list[Callable[[], None]]()

        def slow(time: float) -> str:
            nonlocal shown
            shown += 1
            self.clock.rightNow += 0.003
            return instant(time)

        def later(_: float, turn: Callable[[], None]) -> None:
            waiting.append(turn)

        self.patch(self.viewer, "instant", slow)
        self.patch(self.clock, "callLater", later)
        turns: list[int] = []
        sending = self.send(DECISIONS)
        while waiting:
            turns.append(shown)
            waiting.pop(0)()
        self.assertEqual(turns, list(range(2, 21, 2)))
        self.assertEqual(parsed(sending).status, 200)


class ExplainTests(AdminTestCase):
    def test_all(self) -> None:
        """All candidates are listed, best first; that counts nothing."""
        found = self.read(f"{EXPLAIN}?container=llm")
        self.assertEqual(found["candidates"], 2)
        costs = [node["cost"] for node in found["nodes"]]
        self.assertEqual(costs, sorted(costs))
        self.assertIsNone(found["node"])
        self.assertIsNone(found["why"])
        self.assertEqual(self.read(f"{EXPLAIN}?container=x")["why"], "no up node runs 'x'")
        self.assertEqual(self.fleet.decided, 0)
        self.assertEqual(len(self.read(f"{EXPLAIN}?container=llm&limit=1")["nodes"]), 1)

    def test_node(self) -> None:
        """One node has its rank, or why it is no candidate, in words."""
        self.fleet.override(A, Tier.DRAINED)

        def why(node: object, more: str = "") -> tuple[int | None, str]:
            found = self.read(f"{EXPLAIN}?container=llm&node={node}{more}")["node"]
            self.assertEqual(found["node"], str(node))
            return found["rank"], found["why"]

        self.assertEqual(why(B), (1, "a job costs least there"))
        self.assertEqual(why(A), (None, "an operator drained it"))
        rank, reason = why(C)
        self.assertIsNone(rank)
        self.assertIn("it has been down for 0 seconds: HTTP 500", reason)
        self.assertEqual(why(B, f"&exclude={B}"), (None, "it is excluded by the request"))

    def test_model(self) -> None:
        """With a model, only the nodes that support it are candidates."""

        class Surveyed:
            def among(self, containers: object) -> Among:
                return Among([B], "no other")

        self.patch(self.surveyor, "survey", lambda model, client: succeed(Surveyed()))
        found = self.read(f"{EXPLAIN}?container=llm&model_id=m&node={A}")
        self.assertEqual([node["node"] for node in found["nodes"]], [str(B)])
        self.assertEqual(found["node"]["why"], "it is not known to support the model")

    def test_bad(self) -> None:
        """Without a container it is 400, and for a node that is not known 404."""
        self.assert_error(EXPLAIN, 400, "No containers specified")
        self.assertEqual(self.ask(f"{EXPLAIN}?container=").status, 400)
        self.assert_error(f"{EXPLAIN}?container=llm&node=x:1", 404, "there is no node x:1")

    def test_limit(self) -> None:
        """More than five a second are 429."""
        for path in (f"{EXPLAIN}?container=llm", f"{WHATIF}?drain={A}"):
            for _ in range(5):
                self.read(path)
            answer = self.ask(path)
            self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "1"))
            self.clock.advance(1)
            self.read(path)


class WhatIfTests(AdminTestCase):
    def test_forecast(self) -> None:
        """It says what would be left for each container, and what to know before that."""
        (unknown,) = addresses("192.0.2.9")
        found = self.read(f"{WHATIF}?drain={B}&drain={unknown}")
        containers = {container["id"]: container for container in found["containers"]}
        self.assertEqual(containers["llm"]["nodes"], [2, 1])
        self.assertEqual(containers["prover"]["nodes"], [1, 0])
        self.assertEqual(containers["prover"]["capacity_jobs_per_second"][1], 0.0)
        self.assertEqual(containers["prover"]["utilization"][1], None)
        self.assertIn("192.0.2.9 is not known", found["notes"])
        self.assertIn("no up node would be left that runs 'prover'", found["notes"])

    def test_bad(self) -> None:
        """Without a node to drain it is 400."""
        self.assert_error(WHATIF, 400, "drain is missing: name the address of a node")
