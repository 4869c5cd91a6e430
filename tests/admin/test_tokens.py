"""Tests of infernet_router.admin.tokens."""

import os
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import files
from infernet_router.admin import tokens as tokens_module
from infernet_router.admin.access import Role
from infernet_router.admin.tokens import BadTokens, Tokens, parse_tokens
from infernet_router.files import OffLoop
from tests.doubles import Threads, logged


class ParseTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """A line has a name, a role and a token; comments and blank lines are ignored."""
        grants = parse_tokens("# who\n\nalice viewer one\r\n  bob\toperator  two==\n")
        people = [(grant.person.name, grant.person.role) for grant in grants]
        self.assertEqual(people, [("alice", Role.VIEWER), ("bob", Role.OPERATOR)])

    def test_bad(self) -> None:
        """The message has the line and what is wrong, and nothing of the line."""
        for text, why in (
            ("", "there is no token in it; a line is NAME ROLE TOKEN"),
            ("alice SECRET", "line 1: it must be NAME ROLE TOKEN, not 2 words"),
            ("# x\nalice viewer SECRET x", "line 2: it must be NAME ROLE TOKEN, not 4 words"),
            ("alice SECRET viewer", "line 1: ROLE must be viewer or operator"),
            ("al/ce viewer SECRET", "line 1: NAME must be up to 64 letters, digits and _.@+-"),
            ("env viewer SECRET", "line 1: NAME is taken"),
            ("a viewer SECRET\na viewer x", "line 2: NAME is taken"),
            ("a viewer SECRET\nb viewer SECRET", "line 2: another name has the same token"),
            (
                "a viewer SECRET=x",
                "line 1: the token has characters other than letters, digits and -._~+/=",
            ),
        ):
            with self.assertRaises(BadTokens) as caught:
                parse_tokens(text)
            self.assertEqual(str(caught.exception), why)


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.path.write_text("alice viewer one\n")
        self.path.chmod(0o600)
        self.lines = logged(self, "infernet_router.admin.tokens")
        self.clock = Clock()
        self.threads = Threads()

    def tokens(self, path: Path | None = None, of_environment: str | None = None) -> Tokens:
        return Tokens(path, of_environment, OffLoop[Any](self.threads, self.clock))

    def names(self, tokens: Tokens) -> list[str]:
        return [grant.person.name for grant in tokens()]

    def test_both(self) -> None:
        """The token in the environment is that of an operator named env."""
        self.assertEqual(self.names(self.tokens()), [])
        self.assertEqual(self.names(self.tokens(self.path, "two")), ["env", "alice"])
        tokens = self.tokens(of_environment="two")
        self.assertEqual(tokens()[0].person.role, Role.OPERATOR)
        tokens.read_again()
        self.assertEqual(self.names(tokens), ["env"])

    def test_read_again(self) -> None:
        """A file that went bad keeps the tokens it had; that is logged once, and its end too."""
        tokens = self.tokens(self.path)
        self.path.write_text("alice viewer\n")
        for _ in range(2):
            tokens.read_again()
        self.assertEqual(self.names(tokens), ["alice"])
        self.path.unlink()
        tokens.read_again()
        self.path.write_text("bob operator two\n")
        self.path.chmod(0o600)
        for _ in range(2):
            tokens.read_again()
        self.assertEqual(self.names(tokens), ["bob"])
        self.path.chmod(0o604)
        for _ in range(2):
            tokens.read_again()
        self.assertEqual(
            self.lines,
            [
                f"warn: {self.path}, line 1: it must be NAME ROLE TOKEN, not 2 words;"
                " keeping the tokens it had",
                f"warn: cannot read {self.path}: No such file or directory;"
                " keeping the tokens it had",
                f"info: {self.path} works again",
                f"warn: {self.path} holds tokens, and others may read it: chmod o-r",
            ],
        )

    def test_emptied(self) -> None:
        """A file without a token keeps those it had, as one may be read while it is written."""
        tokens = self.tokens(self.path)
        for text in ("", "# nobody\n"):
            self.path.write_text(text)
            tokens.read_again()
        self.assertEqual(self.names(tokens), ["alice"])
        words = "there is no token in it; a line is NAME ROLE TOKEN; keeping the tokens it had"
        self.assertEqual(self.lines, [f"warn: {self.path}, {words}"])

    def test_bad_at_start(self) -> None:
        """A file that cannot be used is refused: a pipe, a large one, a directory, none."""
        pipe = self.path.with_suffix(".pipe")
        os.mkfifo(pipe)
        large = self.path.with_suffix(".large")
        large.write_bytes(b"#" * (2**20 + 1))
        kind = "is a pipe, a socket or a device, not a file"
        for path, why in (
            (pipe, f"{pipe} {kind}"),
            (large, f"{large} is larger than 1 MiB"),
            (self.path.parent, f"{self.path.parent} is a directory, not a file"),
            (Path("/nowhere/x"), "cannot read /nowhere/x: No such file or directory"),
        ):
            with self.assertRaises(BadTokens) as caught:
                self.tokens(path)
            self.assertEqual(str(caught.exception), why)

    def test_hanging(self) -> None:
        """A file system that hangs keeps the tokens there are; it is read when it is back."""
        tokens = self.tokens(self.path)
        self.path.write_text("bob operator two\n")
        self.threads.hangs = True
        for _ in range(3):
            tokens.read_again()
        self.assertEqual(len(self.threads.kept), 1)
        self.threads.go_on()
        self.assertEqual(self.names(tokens), ["bob"])
        self.threads.hangs = True
        tokens.read_again()
        self.clock.advance(5)
        self.assertEqual(self.names(tokens), ["bob"])
        self.threads.go_on()
        tokens.read_again()
        self.assertEqual(
            self.lines,
            [
                f"warn: cannot read {self.path}: the file system did not answer within 5 seconds;"
                " keeping the tokens it had",
                f"info: {self.path} works again",
            ],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_hanging_at_start(self) -> None:
        """A file system that hangs at the start ends it."""
        self.patch(files, "PATIENCE", 0.0)
        self.patch(tokens_module, "_read", lambda _: Event().wait(10))
        with self.assertRaises(BadTokens) as caught:
            self.tokens(self.path)
        why = f"cannot read {self.path}: the file system did not answer within 0 seconds"
        self.assertEqual(str(caught.exception), why)

    def test_bug(self) -> None:
        """A bug is logged, and does not prevent the next try."""
        tokens = self.tokens(self.path)
        with patch.object(tokens_module, "_read", side_effect=ZeroDivisionError):
            tokens.read_again()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.path.write_text("bob operator two\n")
        tokens.read_again()
        self.assertEqual(self.names(tokens), ["bob"])
