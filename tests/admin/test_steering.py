"""Tests of infernet_router.admin.steering."""

import json
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from infernet_router.admin import steering as steering_module
from infernet_router.admin.access import Role
from infernet_router.admin.audit import Audit
from infernet_router.admin.state import BadState, CannotKeep
from infernet_router.admin.steering import Steering
from infernet_router.fleet import Order, Overrides, Tier
from tests.admin.case import A, AdminTestCase, B, C, parsed
from tests.doubles import Answer, addresses, logged, report

HEADERS = {"Authorization": "Bearer secret", "Content-Type": "application/json"}


def path(address: str) -> str:
    return f"/admin/v1/nodes/{address}/override"


class FakeState:
    """A state directory in memory."""

    path = "/state"

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.written: list[list[Order]] = []
        self.lines: list[bytes] = []
        self.waiting: list[Deferred[None]] | None = None
        """Where writes wait; None where each is made at once."""
        self.is_full = self.is_closed = False

    def check(self) -> None:
        if self.is_full:
            raise BadState("cannot use /state")

    async def write(self, orders: list[Order]) -> None:
        if self.waiting is not None:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.is_full:
            raise CannotKeep("cannot write to /state: No space left on device")
        self.written.append(orders)

    async def append(self, line: bytes) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.is_closed = True


class SteeringTestCase(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.give("bob", Role.OPERATOR, "secret")
        self.log = logged(self, "infernet_router.admin.steering")
        self.state = FakeState()

    def keep(self, *orders: Order) -> None:
        """Keep overrides in the state from now on, which has these."""
        self.successResultOf(self.steering.stopService())
        self.state.orders = list(orders)
        seconds = self.clock.seconds
        self.overrides = Overrides(self.fleet, seconds, seconds, "1" * 16)
        state: Any = self.state
        audit = Audit(state, self.clock, seconds)
        self.steering = Steering(self.fleet, self.overrides, state, audit, self.counts, self.clock)
        self.steering.startService()

    def put(self, address: str, body: str, **options: Any) -> Answer:
        values = {"method": "PUT", "headers": HEADERS, "body": body.encode(), **options}
        return self.ask(path(address), **values)

    def delete(self, address: str, **options: Any) -> Answer:
        return self.ask(path(address), method="DELETE", headers=HEADERS, **options)

    def tier(self, address: Any) -> Tier:
        view = self.fleet.view(address)
        assert view is not None
        return view.override

    def audited(self) -> list[tuple[str, str, str]]:
        """Verb, address and result of the entries in the audit, oldest first."""
        entries = self.read("/admin/v1/audit")["audit"]
        return [(one["verb"], one["address"], one["result"]) for one in reversed(entries)]


class ChangeTests(SteeringTestCase):
    def test_put(self) -> None:
        """An override is in force when it is answered, and shown until it is ended."""
        answer = self.put("192.0.2.1:4000", '{"drain":true,"weight":2,"reason":"why","for":"2h"}')
        shown = {
            "address": "192.0.2.1:4000",
            "drain": True,
            "weight": 2.0,
            "reason": "why",
            "by": "bob",
            "given": "1970-01-01T00:16:40.000Z",
            "until": "1970-01-01T02:16:40.000Z",
            "persisted": False,
        }
        self.assertEqual((answer.status, json.loads(answer.body)), (200, shown))
        self.assertEqual(self.tier(A), Tier.DRAINED)
        self.assertEqual(self.read("/admin/v1/overrides"), {"overrides": [shown]})
        self.assertEqual(self.read("/admin/v1/nodes/192.0.2.1:4000")["override"], shown)
        self.assertEqual(self.read(path("192.0.2.1:4000")), shown)
        self.assertEqual(self.read("/admin/v1/overview")["overrides"], 1)
        again = self.put("192.0.2.1%3a4000", '{"weight":0.5}')
        self.assertEqual((again.status, self.tier(A)), (200, Tier.NORMAL))
        ended = self.delete("192.0.2.1:4000")
        self.assertEqual((ended.status, ended.body), (204, b""))
        self.assertIsNone(self.read("/admin/v1/nodes/192.0.2.1:4000")["override"])
        self.assertEqual(self.ask(path("192.0.2.1:4000")).status, 404)
        self.assertEqual(
            self.log,
            [
                "info: bob at 127.0.0.1 drained 192.0.2.1:4000 with weight 2 until"
                " 1970-01-01T02:16:40.000Z: 'why'",
                "info: bob at 127.0.0.1 gave 192.0.2.1:4000 weight 0.5",
                "info: bob at 127.0.0.1 ended the override of 192.0.2.1:4000",
            ],
        )
        entries = self.read("/admin/v1/audit?limit=2")["audit"]
        self.assertEqual([one["verb"] for one in entries], ["delete", "put"])
        self.assertEqual(entries[1]["before"], shown)
        self.assertEqual(entries[1]["after"], json.loads(again.body))
        self.assertEqual((entries[0]["before"], entries[0]["after"]), (entries[1]["after"], None))
        self.assertEqual((entries[0]["name"], entries[0]["peer"]), ("bob", "127.0.0.1"))
        actions = self.counts.actions
        self.assertEqual(actions, {("put", "done"): 2, ("delete", "done"): 1})

    def test_spellings(self) -> None:
        """All spellings of an address are one; the override of a new node waits for it."""
        self.assertEqual(
            self.put("https%3A%2F%2FNode.invalid:443%2Fb%2F", '{"drain":true}').status, 409
        )
        body = '{"drain":true,"force":true}'
        self.assertEqual(self.put("https%3A%2F%2FNode.invalid:443%2Fb%2F", body).status, 200)
        self.assertEqual(self.tier(B), Tier.DRAINED)
        self.assertEqual(self.delete("https%3A%2F%2Fnode.invalid%2Fb").status, 204)
        self.assertEqual(self.put("192.0.2.77", '{"drain":true}').status, 200)
        (new,) = addresses("192.0.2.77")
        self.fleet.replace([A, new])
        self.assertEqual(self.tier(new), Tier.DRAINED)
        for bad in ("a%20b", "%ff", "https:%2F%2F"):
            self.assertEqual(self.put(bad, body).status, 400)

    def test_last(self) -> None:
        """A drain that leaves a container without an up node is a 409, unless it is forced."""
        refused = self.put("https%3A%2F%2Fnode.invalid%2Fb", '{"drain":true,"reason":"why"}')
        error = "no up node would be left that runs 'prover': force drains it all the same"
        self.assertEqual((refused.status, json.loads(refused.body)), (409, {"error": error}))
        self.assertEqual(self.tier(B), Tier.NORMAL)
        entry = self.read("/admin/v1/audit")["audit"][0]
        self.assertEqual((entry["result"], entry["reason"]), (f"409: {error}", "why"))
        self.assertEqual(self.put("192.0.2.1:4000", '{"drain":true}').status, 200)
        names = [f"c{number}" for number in range(7)]
        self.fleet.observed(B, report(*names))
        refused = self.put("https%3A%2F%2Fnode.invalid%2Fb", '{"drain":true}')
        self.assertIn("'c0', 'c1', 'c2', 'c3', 'c4' and 2 more", json.loads(refused.body)["error"])
        self.assertEqual(self.put("https%3A%2F%2Fnode.invalid%2Fb", '{"weight":2}').status, 200)
        self.assertEqual(self.put("192.0.2.3:4000", '{"drain":true}').status, 200)
        self.assertEqual(self.counts.actions["put", "refused"], 2)

    def test_refused(self) -> None:
        """What is not allowed changes nothing, and is in the audit."""
        self.give("alice", Role.VIEWER, "view")
        body = '{"drain":true}'
        form = {"Authorization": "Bearer secret", "Content-Type": "text/plain"}
        viewer = {**HEADERS, "Authorization": "Bearer view"}
        for options, status in (
            ({"headers": {}}, 401),
            ({"headers": {**HEADERS, "Authorization": "Bearer wrong"}}, 401),
            ({"headers": viewer}, 403),
            ({"headers": form}, 415),
            ({"headers": {"Authorization": "Bearer secret"}}, 415),
            ({"host": "evil.invalid"}, 403),
            ({"method": "POST", "headers": {}}, 401),
        ):
            self.assertEqual(self.put("192.0.2.1:4000", body, **options).status, status)
        self.assertEqual(self.ask("/no%0Athing", method="PUT").status, 401)
        self.assertEqual(self.tier(A), Tier.NORMAL)
        entries = self.read("/admin/v1/audit")["audit"][::-1]
        self.assertEqual(
            [(one["verb"], one["name"], one["result"][:3]) for one in entries],
            [
                ("put", "", "401"),
                ("put", "", "401"),
                ("put", "alice", "403"),
                ("put", "bob", "415"),
                ("put", "bob", "415"),
                ("put", "", "403"),
                ("other", "", "401"),
                ("put", "", "401"),
            ],
        )
        self.assertEqual({one["address"] for one in entries}, {"192.0.2.1:4000", "/no\nthing"})
        utf8 = {**HEADERS, "Content-Type": "Application/JSON; charset=utf-8"}
        self.assertEqual(self.put("192.0.2.1:4000", body, headers=utf8).status, 200)

    def test_bad(self) -> None:
        """What is not an override is a 400 that says why; there is nothing else to end."""
        self.assertEqual(self.put("192.0.2.1:4000", '{"drian":true}').status, 400)
        self.assertEqual(self.put("192.0.2.1:4000", "").status, 400)
        error = "there is no override for 192.0.2.1:4000"
        self.assert_error(path("192.0.2.1:4000"), 404, error, method="DELETE", headers=HEADERS)
        self.assertEqual(self.delete("192.0.2.1:4000", body=b"{}").status, 400)
        self.assertEqual(self.ask("/admin/v1/audit?limit=0").status, 400)
        self.assertEqual(self.audited(), [])

    def test_limit(self) -> None:
        """There are so many overrides at most; those there are can still be changed."""
        self.patch(steering_module, "MAX_OVERRIDES", 1)
        self.assertEqual(self.put("192.0.2.1:4000", '{"drain":true}').status, 200)
        refused = self.put("192.0.2.3:4000", '{"drain":true}')
        error = "there are 1 overrides, which is the limit: end some"
        self.assertEqual((refused.status, json.loads(refused.body)), (507, {"error": error}))
        self.assertEqual(self.put("192.0.2.1:4000", '{"weight":2}').status, 200)

    def test_ends(self) -> None:
        """An override ends by itself."""
        self.put("192.0.2.1:4000", '{"drain":true,"for":"2h"}')
        self.put("192.0.2.3:4000", '{"drain":true,"for":"1h"}')
        self.clock.pump([3599, 1])
        self.assertEqual((self.tier(C), self.tier(A)), (Tier.NORMAL, Tier.DRAINED))
        self.clock.pump([3600])
        self.assertEqual(self.tier(A), Tier.NORMAL)
        self.assertEqual(self.log[-1], "info: the override of 192.0.2.1:4000 is over")
        self.assertEqual(
            self.audited()[2:],
            [
                ("expire", "192.0.2.3:4000", "done"),
                ("expire", "192.0.2.1:4000", "done"),
            ],
        )
        self.assertEqual(self.counts.actions["expire", "done"], 2)

    def test_many_end(self) -> None:
        """Of many overrides that end together, the last ones do some turns of the reactor later."""
        for number in range(250):
            self.put(f"10.0.0.{number}", '{"drain":true,"for":"1h"}')
        self.clock.advance(3600)
        self.assertEqual(self.steering.overrides.in_force, {})
        self.assertEqual(self.counts.actions["expire", "done"], 250)


class StateTests(SteeringTestCase):
    def test_kept(self) -> None:
        """Orders are on disk before they are in force, and in force again after a restart."""
        self.keep()
        self.state.waiting = []
        sending = self.send(
            path("192.0.2.1:4000"), method="PUT", headers=HEADERS, body=b'{"drain":true,"for":"1h"}'
        )
        self.assertEqual((sending.value(), self.tier(A)), (b"", Tier.NORMAL))
        self.state.waiting.pop().callback(None)
        self.assertEqual((parsed(sending).status, self.tier(A)), (200, Tier.DRAINED))
        self.assertTrue(json.loads(parsed(sending).body)["persisted"])
        (order,) = self.state.written.pop()
        self.assertEqual(json.loads(self.state.lines.pop())["after"]["drain"], True)
        self.fleet.override(A)
        self.state.waiting = None
        self.clock.advance(1800)
        self.keep(order)
        self.assertEqual(self.tier(A), Tier.DRAINED)
        self.assertEqual(self.log[-1], "info: /state: 1 overrides")
        self.clock.advance(1799)
        self.assertEqual(self.tier(A), Tier.DRAINED)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual((self.tier(A), self.state.written[-1][0].ended), (Tier.NORMAL, 4600.0))
        self.assertEqual(json.loads(self.state.lines[-1])["verb"], "expire")

    def test_over(self) -> None:
        """An override whose time was over while the router was down is not in force."""
        order = Order(address=A, version=1, sender="0" * 16, drain=True, until=500.0)
        self.keep(order, evolve(order, address=C, until=None))
        self.assertEqual((self.tier(A), self.tier(C)), (Tier.NORMAL, Tier.DRAINED))
        self.assertEqual(json.loads(self.state.lines[-1])["address"], "192.0.2.1:4000")
        self.assertEqual(self.steering.overrides.version, 1)
        self.clock.advance(0)
        (written,) = self.state.written
        lines = len(self.state.lines)
        self.keep(*written)
        self.assertEqual(len(self.state.lines), lines)

    def test_unusable(self) -> None:
        """A state directory in which nothing can be written ends the start."""
        self.state.is_full = True
        with self.assertRaises(BadState):
            self.keep()

    def test_full(self) -> None:
        """What cannot be written is a 507, and does not happen."""
        self.keep()
        self.state.is_full = True
        error = "the order is not in force: cannot write to /state: No space left on device"
        refused = self.put("192.0.2.1:4000", '{"drain":true}')
        self.assertEqual((refused.status, json.loads(refused.body)), (507, {"error": error}))
        self.assertEqual((self.tier(A), self.steering.overrides.known()), (Tier.NORMAL, []))
        self.state.is_full = False
        self.put("192.0.2.1:4000", '{"drain":true}')
        self.state.is_full = True
        self.assert_error(path("192.0.2.1:4000"), 507, error, method="DELETE", headers=HEADERS)
        self.assertEqual(self.tier(A), Tier.DRAINED)
        self.assertEqual(self.counts.actions["put", "failed"], 1)
        self.assertEqual(self.counts.actions["delete", "failed"], 1)

    def test_one_by_one(self) -> None:
        """Changes are made one after the other, so that two cannot drain the last two nodes."""
        self.keep()
        self.fleet.observed(B, report("llm"))
        self.state.waiting = []
        sent = [
            self.send(path(name), method="PUT", headers=HEADERS, body=b'{"drain":true}')
            for name in ("192.0.2.1:4000", "https:%2F%2Fnode.invalid%2Fb", "192.0.2.3:4000")
        ]
        self.assertEqual(len(self.state.waiting), 1)
        self.state.waiting[0].callback(None)
        self.assertEqual([parsed(one).status for one in sent[:2]], [200, 409])
        self.state.waiting[1].callback(None)
        self.assertEqual(parsed(sent[2]).status, 200)
        self.assertEqual([len(orders) for orders in self.state.written], [1, 2])

    def test_gone_client(self) -> None:
        """A change goes on when its client goes away, so that disk and router agree."""
        self.keep()
        self.state.waiting = []
        sending = self.send(
            path("192.0.2.1:4000"), method="PUT", headers=HEADERS, body=b'{"drain":true}'
        )
        sending.protocol.connectionLost(Failure(ConnectionLost()))
        self.state.waiting[0].callback(None)
        self.assertEqual((self.tier(A), len(self.state.written)), (Tier.DRAINED, 1))

    def test_learned(self) -> None:
        """What another router was given is written soon, and again when that fails."""
        self.keep()
        self.state.is_full = True
        order = Order(address=A, version=7, sender="2" * 16, drain=True, by="bob", until=2000.0)
        self.overrides.learn([order])
        self.overrides.learn([evolve(order, version=8)])
        self.assertEqual(self.tier(A), Tier.DRAINED)
        self.clock.advance(0)
        self.clock.advance(60)
        drained = "bob drained 192.0.2.1:4000 until 1970-01-01T00:33:20.000Z, at another router"
        full = "warn: cannot write to /state: No space left on device"
        self.assertEqual(self.log, [f"info: {drained}", f"info: {drained}", full])
        self.state.is_full = False
        self.clock.advance(60)
        self.assertEqual(self.state.written, [[evolve(order, version=8)]])
        self.clock.advance(900)
        self.assertEqual(self.tier(A), Tier.NORMAL)

    def test_overtaken(self) -> None:
        """A change is a 409 when an order was learned while it was written, and not in force."""
        self.keep()
        sender, lines = "2" * 16, []
        for method, body, version in (("PUT", b'{"drain":true}', 1), ("DELETE", b"", 2)):
            self.state.waiting = []
            sending = self.send(path("192.0.2.1:4000"), method=method, headers=HEADERS, body=body)
            other = Order(address=A, version=version, sender=sender, weight=2.0, by="eve")
            self.overrides.learn([other])
            waiting, self.state.waiting = self.state.waiting, None
            waiting[0].callback(None)
            answer = parsed(sending)
            error = (
                "the order is not in force: another router was given orders while it was written;"
                " look at the override for 192.0.2.1:4000, and order again"
            )
            self.assertEqual((answer.status, json.loads(answer.body)), (409, {"error": error}))
            self.assertEqual(self.overrides.in_force, {A: other})
            lines.append((method.lower(), "192.0.2.1:4000", f"409: {error}"))
            self.assertEqual(self.audited(), lines)
            self.clock.advance(0)
            self.assertEqual(self.state.written[-1], [other])
        self.assertNotIn(("put", "done"), self.counts.actions)

    def test_many_learned(self) -> None:
        """Of many orders that are learned at once, twenty are logged, and a count."""
        many = addresses(*(f"192.0.2.{number}" for number in range(1, 31)))
        orders = [
            Order(address=each, version=7, sender="2" * 16, by="eve", ended=1000.0) for each in many
        ]
        self.steering.overrides.learn(orders)
        self.assertEqual(len(self.log), 21)
        words = "info: eve ended the override of 192.0.2.1, at another router"
        self.assertEqual(self.log[0], words)
        self.assertEqual(self.log[-1], "info: 10 more overrides were learned")

    def test_stop(self) -> None:
        """The router stops once the change that is being made is on disk."""
        self.keep()
        self.put("192.0.2.3:4000", '{"drain":true,"for":"1h"}')
        self.put("192.0.2.3:4000", "{}", headers={})
        self.overrides.learn([Order(address=A, version=7, sender="2" * 16, drain=True)])
        self.state.waiting = []
        self.send(path("192.0.2.1:4000"), method="PUT", headers=HEADERS, body=b'{"weight":2}')
        stopping = self.steering.stopService()
        self.assertNoResult(stopping)
        self.assertFalse(self.state.is_closed)
        self.state.waiting[0].callback(None)
        self.successResultOf(stopping)
        self.assertTrue(self.state.is_closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bug(self) -> None:
        """A bug is a 500, or logged when nobody waits for the answer; changes go on."""
        self.keep()

        def fail(_: Order) -> None:
            raise ZeroDivisionError

        self.overrides.listen(fail)
        self.assertEqual(self.put("192.0.2.1:4000", '{"drain":true}').status, 500)
        self.state.waiting = []
        sending = self.send(
            path("192.0.2.1:4000"), method="PUT", headers=HEADERS, body=b'{"weight":2}'
        )
        sending.protocol.connectionLost(Failure(ConnectionLost()))
        self.state.waiting[0].callback(None)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        cast(Any, self.overrides)._listeners.clear()
        self.state.waiting = None
        self.assertEqual(self.put("192.0.2.1:4000", '{"weight":3}').status, 200)
