"""Tests of infernet_router.admin.state."""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin import state as state_module
from infernet_router.admin.state import BadState, CannotKeep, State
from infernet_router.files import OffLoop
from infernet_router.fleet import Order, encode_order
from tests.doubles import addresses

A, B = addresses("192.0.2.1:4000", "https://node.invalid/b")
ORDERS = [
    Order(address=A, version=1, sender="0" * 16, drain=True, reason="why", given=5.0),
    Order(address=B, version=2, sender="0" * 16, given=5.0, ended=6.0),
]


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.file = self.path / "overrides.json"
        self.clock = Clock()
        self.calls: list[Callable[[], Any]] | None = None
        """Calls that hang; None where each is made at once."""

    def run_off_loop(self, call: Callable[[], Any]) -> Deferred[Any]:
        if self.calls is None:
            return execute(call)
        self.calls.append(call)
        return Deferred()

    def open(self, path: Path | None = None) -> State:
        state = State(path or self.path, OffLoop(self.run_off_loop, self.clock))
        self.addCleanup(state.close)
        return state

    def write(self, state: State, orders: list[Order]) -> None:
        self.successResultOf(Deferred.fromCoroutine(state.write(orders)))

    def append(self, state: State, line: bytes) -> None:
        self.successResultOf(Deferred.fromCoroutine(state.append(line)))

    def assert_failed(self, work: Any, reason: str) -> None:
        error = self.failureResultOf(Deferred.fromCoroutine(work), CannotKeep).value
        self.assertEqual(str(error), f"cannot write to {self.path}: {reason}")

    def assert_bad(self, reason: str, path: Path | None = None) -> None:
        with self.assertRaises(BadState) as caught:
            self.open(path)
        self.assertIn(reason, str(caught.exception))

    def names(self) -> list[str]:
        """What is in the directory."""
        return sorted(path.name for path in self.path.iterdir())

    def again(self) -> State:
        """The state as another process would read it."""
        self.doCleanups()
        return self.open()

    def test_kept(self) -> None:
        """The directory is made; what was written last is read again."""
        state = self.open()
        self.assertEqual((state.orders, state.lines), ([], []))
        self.write(state, ORDERS[:1])
        self.write(state, ORDERS)
        self.append(state, b"one")
        self.append(state, b"two")
        self.assertEqual(self.names(), ["audit.jsonl", "overrides.json"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o007, 0)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode) & 0o007, 0)
        again = self.again()
        self.assertEqual((again.orders, again.lines), (ORDERS, [b"one", b"two"]))
        self.write(again, [])
        self.assertEqual(self.again().orders, [])

    def test_locked(self) -> None:
        """A directory belongs to one router at a time."""
        state = self.open()
        self.assert_bad(f"another router uses {self.path}: each needs a state directory of its own")
        self.doCleanups()
        self.assertNotEqual(self.open(), state)

    def test_damaged(self) -> None:
        """A file that cannot be understood ends the start, with the reason."""
        self.path.mkdir()
        order = encode_order(ORDERS[0]).decode()
        newer = f"{self.file}, order 2 is damaged, or of a newer release: "
        for content, reason in (
            ("", "is damaged, or of a newer release: Input data was truncated"),
            ("{", "is damaged, or of a newer release"),
            ('{"format":1}', "missing required field `orders`"),
            ('{"format":1,"orders":[],"colour":1}', "unknown field `colour`"),
            ('{"format":2,"orders":[]}', "is of a newer release: its format is 2, not 1"),
            (f'{{"format":1,"orders":[{order},1]}}', newer + "Expected `object`, got `int`"),
            (
                f'{{"format":1,"orders":[{order},{order[:-1]},"hue":1}}]}}',
                newer + "Object contains unknown field `hue`",
            ),
        ):
            self.file.write_text(content)
            self.assert_bad(reason)
        self.patch(state_module, "MAX_OVERRIDES", 0)
        self.file.write_text(f'{{"format":1,"orders":[{order}]}}')
        self.assert_bad("has more than 0 overrides")
        self.file.unlink()
        self.file.mkdir()
        self.assert_bad("is a directory, not a file")

    def test_unusable(self) -> None:
        """A path at which there can be no directory ends the start."""
        beneath = self.path / "a" / "b"
        self.assert_bad(
            f"cannot use {beneath} as the state directory: No such file or directory", beneath
        )
        self.path.write_text("")
        self.assert_bad(f"cannot use {self.path} as the state directory: Not a directory")
        self.path.unlink()
        self.path.mkdir()
        (self.path / "audit.jsonl").symlink_to("audit.jsonl")
        self.assert_bad("cannot read")
        self.patch(os, "access", lambda *_, **__: False)
        why = "the router's user may not write there"
        self.assert_bad(f"cannot use {self.path} as the state directory: {why}")

    def test_other_user(self) -> None:
        """After the user of the process has changed, it is checked again whether it may write."""
        state = self.open()
        state.check()
        why = f"cannot use {self.path} as the state directory: the router's user may not write"
        refused = {self.path}
        self.patch(os, "access", lambda path, mode, **_: path not in refused)
        for path, where in ((self.path, "there"), (self.path / "audit.jsonl", "to audit.jsonl")):
            refused = {path}
            self.append(state, b"one")
            with self.assertRaises(BadState) as caught:
                state.check()
            self.assertEqual(str(caught.exception), f"{why} {where}")

    def test_leftovers(self) -> None:
        """What a router that was killed while it wrote has left is removed at the start."""
        self.path.mkdir()
        (self.path / ".overrides.json.7.1").write_text("{")
        self.open()
        self.assertEqual(self.names(), [])

    def test_full(self) -> None:
        """When the disk is full, what was there before stays, and nothing else."""
        state = self.open()
        self.write(state, ORDERS)
        before = self.file.read_bytes()

        def fail(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with self.patched(os, "fsync", fail):
            self.assert_failed(state.write([]), "No space left on device")
        self.assertEqual(self.file.read_bytes(), before)
        self.assertEqual(self.names(), ["overrides.json"])
        self.write(state, [])
        self.assertEqual(self.again().orders, [])

    def test_gone(self) -> None:
        """When the directory is gone, nothing is written until it is there again."""
        state = self.open()
        self.path.rmdir()
        self.assert_failed(state.write(ORDERS), "No such file or directory")
        self.assert_failed(state.append(b"line"), "No such file or directory")
        self.path.mkdir()
        self.write(state, ORDERS)

    def test_hangs(self) -> None:
        """A write that hangs is given up, and replaces nothing when it goes on after all."""
        state = self.open()
        self.write(state, ORDERS)
        self.calls = []
        writing = Deferred.fromCoroutine(state.write([evolve(ORDERS[0], version=9)]))
        self.clock.advance(5)
        reason = "the file system did not answer within 5 seconds"
        error = self.failureResultOf(writing, CannotKeep).value
        self.assertEqual(str(error), f"cannot write to {self.path}: {reason}")
        self.assertRaises(OSError, self.calls.pop())
        self.assertEqual(self.names(), ["overrides.json"])
        self.assertEqual(self.again().orders, ORDERS)

    def test_lines(self) -> None:
        """A line begins anew after one that was cut off, and is taken back when it is cut off."""
        self.path.mkdir()
        audit = self.path / "audit.jsonl"
        audit.write_bytes(b'{"a":1}\n{"b"')
        state = self.open()
        self.append(state, b"{}")
        self.assertEqual(audit.read_bytes(), b'{"a":1}\n{"b"\n{}\n')
        audit.unlink()
        audit.symlink_to("/dev/full")
        self.assert_failed(state.append(b"{}"), "No space left on device")

    def test_tail(self) -> None:
        """Of a long audit, the end is read."""
        self.patch(state_module, "_MAX_TAIL", 100)
        self.path.mkdir()
        lines = [json.dumps({"number": number}).encode() for number in range(50)]
        (self.path / "audit.jsonl").write_bytes(b"\n".join(lines) + b"\n")
        read = self.open().lines
        self.assertEqual(read, lines[-len(read) :])
        self.assertTrue(3 < len(read) < 10)

    def patched(self, owner: Any, name: str, value: Any) -> Any:
        patcher = self.patch(owner, name, value)

        class Restored:
            def __enter__(self) -> None: ...

            def __exit__(self, *_: object) -> None:
                patcher.restore()

        return Restored()
