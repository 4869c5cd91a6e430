"""Tests of infernet_router.admin.audit."""

import json
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin import audit as audit_module
from infernet_router.admin.audit import Audit
from infernet_router.admin.state import CannotKeep
from tests.doubles import logged


class FakeState:
    """A state directory in memory."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = list(lines)
        self.is_full = False

    async def append(self, line: bytes) -> None:
        if self.is_full:
            raise CannotKeep("full")
        self.lines.append(line)


class AuditTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.log = logged(self, "infernet_router.admin.audit")

    def audit(self, state: FakeState | None = None) -> Audit:
        return Audit(cast(Any, state), self.clock, self.clock.seconds)

    def test_entries(self) -> None:
        """The last entries are kept in memory, newest first."""
        audit = self.audit()
        for number in range(1002):
            self.successResultOf(audit.add("put", "done", name="bob", reason=str(number)))
        self.assertEqual([entry["reason"] for entry in audit.newest(2)], ["1001", "1000"])
        self.assertEqual(len(audit.newest(2000)), 1000)
        self.assertEqual(
            audit.newest(1)[0],
            {
                "time": "1970-01-01T00:16:40.000Z",
                "name": "bob",
                "peer": "",
                "verb": "put",
                "address": "",
                "before": None,
                "after": None,
                "reason": "1001",
                "result": "done",
            },
        )

    def test_state(self) -> None:
        """Entries are on disk, one a line; those that can be read are there after a restart."""
        state = FakeState(b'{"verb":"put"}', b'{"ver', b"1", b"[" * 100_000, b"\xff")
        audit = self.audit(state)
        self.assertEqual(audit.newest(9), [{"verb": "put"}])
        self.successResultOf(audit.add("delete", "done", before={"weight": 2.0}))
        self.assertEqual(json.loads(state.lines[-1])["before"], {"weight": 2.0})
        self.assertEqual(len(self.audit(state).newest(9)), 2)

    def test_full(self) -> None:
        """What cannot be written is in memory; the log says so once, and when it is over."""
        state = FakeState()
        audit = self.audit(state)
        for is_full in (True, True, False, False):
            state.is_full = is_full
            self.successResultOf(audit.add("put", "done"))
        self.assertEqual(len(audit.newest(9)), 4)
        self.assertEqual(
            self.log,
            ["warn: the audit is in the log only: full", "info: the audit can be written again"],
        )

    def test_refusals(self) -> None:
        """Of one peer, ten refusals a minute have an entry each; the others have one."""
        audit = self.audit()
        for _ in range(25):
            audit.refuse("192.0.2.9", "put", "a\nb", "401: no", "eve")
        audit.refuse("192.0.2.8", "other", "/x", "403: no")
        self.assertEqual(len(audit.newest(99)), 11)
        self.assertIn("refused 'eve' at 192.0.2.9: PUT 'a\\nb': 401: no", self.log[0])
        self.clock.advance(59)
        self.assertEqual(len(audit.newest(99)), 11)
        self.clock.advance(1)
        newest = audit.newest(1)[0]
        self.assertEqual(newest["result"], "15 more were refused within a minute")
        self.assertEqual((newest["peer"], len(audit.newest(99))), ("192.0.2.9", 12))
        self.assertEqual(len(self.log), 12)
        audit.refuse("192.0.2.9", "put", "a", "401: no")
        self.assertEqual(len(audit.newest(99)), 13)

    def test_stop(self) -> None:
        """What was only counted is on disk when the router stops, and nothing goes on."""
        state = FakeState()
        audit = self.audit(state)
        for _ in range(12):
            audit.refuse("192.0.2.9", "put", "a", "401: no")
        audit.refuse("192.0.2.8", "put", "a", "401: no")
        self.successResultOf(audit.stop())
        self.assertEqual(
            json.loads(state.lines[-1])["result"], "2 more were refused within a minute"
        )
        self.assertEqual((len(state.lines), self.clock.getDelayedCalls()), (12, []))

    def test_many_peers(self) -> None:
        """When there are too many peers, the others count as one."""
        self.patch(audit_module, "_MOST_PEERS", 3)
        audit = self.audit()
        for number in range(40):
            audit.refuse(f"192.0.2.{number}", "put", "a", "401: no")
        self.assertEqual(len(audit.newest(99)), 13)
        self.clock.advance(60)
        newest = audit.newest(1)[0]
        self.assertEqual(newest["peer"], "others")
        self.assertEqual(newest["result"], "27 more were refused within a minute")
