"""Tests of infernet_router.ctl.commands."""

import json
from collections.abc import Mapping
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.ctl import commands
from infernet_router.ctl.asking import CannotReach, Refused

NODE = {
    "address": "a:1",
    "state": "up",
    "pending": 2,
    "jobs": 1.5,
    "rate": 1.0,
    "weight": 1.0,
    "containers": ["llm"],
    "reason": "",
    "in_doubt": "",
    "override": None,
}


def override(**values: Any) -> dict[str, Any]:
    every = {
        "address": "a:1",
        "drain": True,
        "weight": None,
        "reason": "",
        "by": "bob",
        "given": "2026-11-26T10:00:00.000Z",
        "until": None,
        "persisted": True,
    }
    return every | values


class FakeRouter:
    """
    A router with fixed answers by verb, the next one each time; an exception is raised.

    After the last one, it has a node to show.
    """

    def __init__(self, **answers: list[Any]) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def __call__(self, url: str, token: str | None) -> "FakeRouter":
        self.where = url, token
        return self

    def get(self, path: str, query: Mapping[str, Any] | None = None, wait: float = 0.0) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return self._answer("get", path, given)

    def put(self, path: str, content: object) -> Any:
        return self._answer("put", path, content)

    def delete(self, path: str) -> None:
        self._answer("delete", path, None)

    def _answer(self, verb: str, path: str, content: object) -> Any:
        self.asked.append((verb, path, content))
        answer = self.answers[verb].pop(0) if self.answers[verb] else NODE
        if isinstance(answer, BaseException):
            raise answer
        return answer


class CommandsTests(SynchronousTestCase):
    def run_command(
        self, words: str, router: FakeRouter, environ: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """The exit code, output and errors of a command."""
        self.patch(commands, "Router", router)
        out = StringIO()
        with redirect_stderr(StringIO()) as errors, self.assertRaises(SystemExit) as caught:
            commands.main(words.split(), environ or {}, out)
        assert isinstance(caught.exception.code, int)
        return caught.exception.code, out.getvalue(), errors.getvalue()

    def assert_done(self, words: str, output: str, router: FakeRouter) -> None:
        self.assertEqual(self.run_command(words, router), (0, output, ""))

    def test_nodes(self) -> None:
        """Nodes are read page by page, up to the limit."""
        page = {"total": 1500, "nodes": [NODE] * 1000}
        rest = {"total": 1500, "nodes": [NODE] * 500}
        router = FakeRouter(get=[page, rest])
        code, output, _ = self.run_command("nodes --state up --desc", router)
        self.assertEqual((code, output.count("\n")), (0, 1500))
        self.assertEqual(output.splitlines()[0], "a:1\tup\t2\t1.5\t1\t1\tllm\t-")
        query = {"state": "up", "order": "desc", "limit": 1000}
        self.assertEqual(router.asked[1], ("get", "nodes", query | {"offset": 1000}))
        router = FakeRouter(get=[page, rest])
        output = self.run_command("nodes --limit 1200 --json", router)[1]
        self.assertEqual(router.asked[1][2]["limit"], 200)
        self.assertEqual(json.loads(output)["total"], 1500)
        self.assert_done("nodes", "", FakeRouter(get=[{"total": 3, "nodes": []}]))

    def test_node(self) -> None:
        """A node is shown line by line."""
        event = {"time": "T", "state": "down", "reason": "gone"}
        node = {
            **NODE,
            "override": override(),
            "history": [event],
            "decisions": [{"time": "T", "id": "7"}],
        }
        output = self.run_command("node a:1", FakeRouter(get=[node]))[1]
        self.assertIn("override\t2026-11-26T10:00:00.000Z drain by bob\n", output)
        self.assertTrue(output.endswith("history\tT down gone\ndecision\tT 7\n"))
        output = self.run_command("node a:1 --json", FakeRouter(get=[node]))[1]
        self.assertEqual(json.loads(output), node)
        output = self.run_command("node a:1", FakeRouter(get=[node | {"override": None}]))[1]
        self.assertIn("override\t-\n", output)

    def test_reasons(self) -> None:
        """It is said why a node is in doubt, and who drained it, when and why."""
        drained = override(reason="new kernel")
        for changes, words in (
            ({"reason": "gone"}, "gone"),
            ({"in_doubt": "it fails jobs"}, "in doubt: it fails jobs"),
            ({"override": override(drain=False, weight=2.0)}, "-"),
            (
                {"reason": "gone", "override": drained},
                "gone; drained by bob at 2026-11-26T10:00:00.000Z: new kernel",
            ),
        ):
            router = FakeRouter(get=[{"total": 1, "nodes": [NODE | changes]}])
            output = self.run_command("nodes", router)[1]
            self.assertEqual(output.rstrip("\n").rpartition("\t")[2], words)

    def test_decisions(self) -> None:
        """Decisions are listed, and one of them is shown with what was compared."""
        one = {
            "id": "a/7",
            "time": "T",
            "containers": ["llm", "x"],
            "node": "a:1",
            "candidates": 3,
            "left_out": {"down": 1, "full": 0},
            "compared": [{"node": "a:1", "cost": 0.5}, {"node": "b:1", "cost": 1.0}],
            "margin": 0.5,
            "after": None,
        }
        router = FakeRouter(get=[{"decisions": [one]}])
        words = "decisions --container llm --node a:1 --limit 3"
        self.assert_done(words, "T\ta/7\tllm,x\ta:1\t3\t0.5\n", router)
        query = {"container": "llm", "node": "a:1", "limit": 3}
        self.assertEqual(router.asked, [("get", "decisions", query)])
        router = FakeRouter(get=[one])
        output = self.run_command("decision a/7", router)[1]
        self.assertEqual(router.asked, [("get", "decisions/a%2F7", {})])
        self.assertIn("left_out\tdown=1 full=0\n", output)
        self.assertIn("after\t-\ncompared\tnode=a:1 cost=0.5\ncompared\tnode=b:1 cost=1\n", output)
        output = self.run_command("decision a/7 --json", FakeRouter(get=[one]))[1]
        self.assertEqual(json.loads(output), one)

    def test_last_node(self) -> None:
        """A drain of the last node of a container is refused, and the flag that allows it named."""
        refused = Refused(409, "no up node would be left: force drains it all the same")
        router = FakeRouter(get=[Refused(404, "none")], put=[refused])
        words = "infernet-router-ctl: no up node would be left: --force drains it all the same\n"
        self.assertEqual(self.run_command("drain a:1", router), (1, "", words))

    def test_bad_value(self) -> None:
        """A value that the router does not understand is a wrong argument."""
        router = FakeRouter(get=[Refused(400, "state must be one of up, down")])
        words = "infernet-router-ctl: state must be one of up, down\n"
        self.assertEqual(self.run_command("nodes --state dwon", router), (2, "", words))

    def test_explain(self) -> None:
        """Candidates are listed, and of one node it is said why."""
        found = {
            "candidates": 1,
            "nodes": [{"node": "a:1", "cost": 0.5, "jobs": 0.0, "rate": 1.0}],
            "node": {"node": "b:1", "rank": None, "why": "it is down"},
            "why": None,
        }
        words = "explain llm x --node b:1 --exclude c:1"
        router = FakeRouter(get=[found])
        self.assert_done(words, "a:1\t0.5\t0\t1\nb:1: it is down\n", router)
        query = {"container": ["llm", "x"], "exclude": ["c:1"], "node": "b:1"}
        self.assertEqual(router.asked, [("get", "explain", query)])
        ranked = found | {"node": {"node": "a:1", "rank": 1, "why": "least"}}
        output = self.run_command("explain llm", FakeRouter(get=[ranked]))[1]
        self.assertIn("a:1: rank 1: least\n", output)
        none = {"candidates": 0, "nodes": [], "node": None, "why": "no up node runs 'llm'"}
        ran = self.run_command("explain llm", FakeRouter(get=[none]))
        self.assertEqual(ran, (1, "", "infernet-router-ctl: no up node runs 'llm'\n"))
        code, output, _ = self.run_command("explain llm --json", FakeRouter(get=[none]))
        self.assertEqual((code, json.loads(output)), (1, none))

    def test_drain(self) -> None:
        """A drain keeps the weight that the node has, and the time that is left of it."""
        router = FakeRouter(
            get=[Refused(404, "none")],
            put=[override(until="U", reason="why", persisted=False)],
        )
        shown = "drain until U by bob (why); it ends when the router restarts, without --state"
        self.assert_done("drain a:1 --for 2h --reason why", f"a:1: {shown}\n", router)
        order = {"drain": True, "force": False, "reason": "why", "for": "2h"}
        self.assertEqual(router.asked[1], ("put", "nodes/a%3A1/override", order))
        until = (datetime.now(UTC) + timedelta(seconds=3599.5)).isoformat()
        before = override(drain=False, weight=2.0, reason="old", until=until)
        router = FakeRouter(get=[before], put=[override(weight=2.0)])
        self.assert_done("drain a:1 --reason why", "a:1: drain weight=2 by bob\n", router)
        order = {"drain": True, "force": False, "weight": 2.0, "reason": "why", "for": "3600s"}
        self.assertEqual(router.asked[1][2], order)

    def test_two_ends(self) -> None:
        """A drain and a weight of one address have one end, so that a second one is refused."""
        one = "an address has one order with one end: leave out --for, or end that first with"
        for command, before, words in (
            (
                "drain a:1 --for 2h",
                override(drain=False, weight=0.5, until="U"),
                f"a:1 has weight 0.5 until U, and {one} `weight a:1 none`",
            ),
            (
                "weight a:1 0.5 --for 1h",
                override(),
                f"a:1 is drained without an end, and {one} `undrain a:1`",
            ),
        ):
            router = FakeRouter(get=[before])
            code, _, errors = self.run_command(command, router)
            self.assertEqual((code, errors), (1, f"infernet-router-ctl: {words}\n"))
            self.assertEqual(len(router.asked), 1)

    def test_wait(self) -> None:
        """--wait ends when the node is drained; meanwhile, it says what is missing."""
        waiting = {**NODE, "drained": False, "waits_for": "2 jobs were pending"}
        drained = {**NODE, "drained": True, "waits_for": None}
        down = {**waiting, "state": "down", "waits_for": "it is down: gone"}

        def router(*nodes: Any) -> FakeRouter:
            return FakeRouter(get=[Refused(404, "none"), NODE, *nodes], put=[override()])

        asked = router(waiting, waiting, down, drained)
        ran = self.run_command("drain a:1 --wait", asked)
        told = ["waiting: 2 jobs were pending", "waiting: it is down: gone"]
        errors = "".join(f"infernet-router-ctl: {words}\n" for words in told)
        self.assertEqual(ran, (0, "drained: safe to delete\n", errors))
        waits = [query["timeout"] for _, _, query in asked.asked[3:]]
        self.assertEqual(waits, [0, 10, 10, 10])
        output = self.run_command("drain a:1 --wait --json", router(drained))[1]
        self.assertEqual(json.loads(output), drained)
        ran = self.run_command("drain a:1 --wait", router(down))
        words = "not drained: it is down: gone; nobody knows what jobs it has\n"
        self.assertEqual(ran, (1, words, ""))
        times = iter((0.0, 0.5, 0.5, 1.0))
        self.patch(commands, "monotonic", lambda: next(times))
        code, output, _ = self.run_command("drain a:1 --wait --timeout 1", router(waiting, down))
        self.assertEqual((code, output), (1, "not drained within 1 s: it is down: gone\n"))
        self.patch(commands, "monotonic", lambda: 0.0)
        code, _, errors = self.run_command(
            "drain a:1 --wait", router(Refused(409, "there is no such order"))
        )
        self.assertEqual((code, errors), (1, "infernet-router-ctl: there is no such order\n"))

    def test_unknown(self) -> None:
        """An order for an address that no node has is given, with a warning."""
        none = Refused(404, "there is none")
        words = "infernet-router-ctl: the router knows no such node; the order waits for it\n"
        for command in ("drain a:1", "weight a:1 2"):
            router = FakeRouter(get=[none, none], put=[override()])
            self.assertEqual(self.run_command(command, router), (0, "a:1: drain by bob\n", words))
        ran = self.run_command("drain a:1 --wait", FakeRouter(get=[none] * 3, put=[override()]))
        self.assertEqual(ran, (1, "", f"{words}infernet-router-ctl: there is none\n"))
        router = FakeRouter(get=[none, Refused(429, "too often")], put=[override()])
        self.assertEqual(self.run_command("drain a:1", router)[0], 1)

    def test_undrain(self) -> None:
        """The end of a drain keeps the weight, its reason and the time that is left of it."""
        router = FakeRouter(get=[override()], delete=[None])
        self.assert_done("undrain a:1", "a:1: has no override any more\n", router)
        until = (datetime.now(UTC) + timedelta(seconds=3599.5)).isoformat()
        before = override(weight=2.0, reason="why", until=until)
        after = override(drain=False, weight=2.0)
        router = FakeRouter(get=[before], put=[after])
        self.assert_done("undrain a:1", "a:1: weight=2 by bob\n", router)
        order = {"weight": 2.0, "force": True, "reason": "why", "for": "3600s"}
        self.assertEqual(router.asked[1][2], order)
        for found in (override(drain=False, weight=2.0), Refused(404, "there is none")):
            code, _, errors = self.run_command("undrain a:1", FakeRouter(get=[found]))
            words = "infernet-router-ctl: a:1 is not drained by an order\n"
            self.assertEqual((code, errors), (1, words))

    def test_weight(self) -> None:
        """A weight keeps the drain."""
        router = FakeRouter(get=[override(reason="why")], put=[override(weight=3.0)])
        self.assert_done("weight a:1 3", "a:1: drain weight=3 by bob\n", router)
        order = {"weight": 3.0, "drain": True, "force": True, "reason": "why"}
        self.assertEqual(router.asked[1][2], order)
        router = FakeRouter(get=[Refused(404, "")], put=[override(drain=False, weight=3.0)])
        self.assert_done("weight a:1 3 --reason new", "a:1: weight=3 by bob\n", router)
        self.assertEqual(router.asked[1][2], {"weight": 3.0, "reason": "new"})
        router = FakeRouter(get=[override(drain=False, weight=3.0)], delete=[None])
        self.assert_done("weight a:1 none", "a:1: has no override any more\n", router)
        router = FakeRouter(get=[override(weight=3.0)], put=[override()])
        self.assert_done("weight a:1 none", "a:1: drain by bob\n", router)
        code, _, errors = self.run_command("weight a:1 none", FakeRouter(get=[override()]))
        words = "infernet-router-ctl: a:1 has no weight by an order\n"
        self.assertEqual((code, errors), (1, words))

    def test_lists(self) -> None:
        """Overrides and the audit are tables."""
        router = FakeRouter(get=[{"overrides": [override(until="U")]}])
        shown = "a:1\tdrain\tU\tbob\t2026-11-26T10:00:00.000Z\t-\n"
        self.assert_done("overrides", shown, router)
        entry = {"time": "T", "name": "bob", "peer": "p", "verb": "put", "after": override()}
        router = FakeRouter(get=[{"audit": [entry | {"result": "done"}, {"verb": "delete"}]}])
        shown = "T\tbob\tp\tput\tdrain\t-\tdone\t-\n-\t-\t-\tdelete\t-\t-\t-\t-\n"
        self.assert_done("audit --limit 2", shown, router)
        self.assertEqual(router.asked, [("get", "audit", {"limit": 2})])

    def test_where(self) -> None:
        """The URL is that of the flag, of the variable, or the default."""
        variables = {"INFERNET_ROUTER_URL": "http://v", "INFERNET_ROUTER_ADMIN_TOKEN": "secret"}
        for words, environ, expected in (
            ("overrides --url http://f", variables, ("http://f", "secret")),
            ("overrides", variables, ("http://v", "secret")),
            ("overrides", {}, ("http://127.0.0.1:4001", None)),
        ):
            router = FakeRouter(get=[{"overrides": []}])
            self.run_command(words, router, environ)
            self.assertEqual(router.where, expected)

    def test_errors(self) -> None:
        """Each error is one line, with an exit code of its own."""
        for error, code in ((Refused(409, "no\nway"), 1), (CannotReach("no\nway"), 3)):
            found = self.run_command("overrides", FakeRouter(get=[error]))
            self.assertEqual(found, (code, "", "infernet-router-ctl: no\\nway\n"))
        environ = {"INFERNET_ROUTER_ADMIN_TOKEN": "a b"}
        code, _, errors = self.run_command("overrides", FakeRouter(), environ)
        words = "INFERNET_ROUTER_ADMIN_TOKEN must hold one token and nothing else"
        self.assertEqual((code, errors), (2, f"infernet-router-ctl: {words}\n"))
        found = self.run_command("overrides", FakeRouter(get=[KeyboardInterrupt()]))
        self.assertEqual(found[0], 130)
