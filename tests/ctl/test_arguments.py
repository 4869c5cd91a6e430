"""Tests of infernet_router.ctl.arguments."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.ctl.arguments import BadArguments, find_token, parse


class ParseTests(SynchronousTestCase):
    def test_common(self) -> None:
        """Options of all commands may come before or after the command."""
        for words in ("--json --url u nodes", "nodes --url u --json", "--json nodes --url u"):
            given = parse(words.split())
            self.assertEqual((given.command, given.url, given.json), ("nodes", "u", True))
        given = parse(["overrides"])
        self.assertEqual((given.url, given.token_file, given.json), (None, None, False))

    def test_commands(self) -> None:
        """Each command has arguments of its own."""
        given = parse(
            ["drain", "A", "--for", "2h", "--reason", "why", "--wait", "--timeout", "5", "--force"]
        )
        found = (given.address, given.duration, given.reason, given.wait, given.timeout)
        self.assertEqual((*found, given.force), ("A", "2h", "why", True, 5, True))
        self.assertEqual(parse(["weight", "A", "0.5"]).weight, 0.5)
        self.assertIsNone(parse(["weight", "A", "none"]).weight)
        self.assertEqual(parse(["explain", "a", "b"]).containers, ["a", "b"])

    def test_wrong(self) -> None:
        """Wrong arguments end with code 2 and the reason; --help and --version with 0."""
        for words, reason in (
            ("", "the following arguments are required: COMMAND"),
            ("fly", "invalid choice: 'fly'"),
            ("drain", "the following arguments are required: ADDRESS"),
            ("drain A --wai", "unrecognized arguments: --wai"),
            ("weight A much", "must be a number from 0.1 to 10, or none"),
            ("audit --limit 0", "must be a whole number above 0"),
            ("audit --limit ²", "must be a whole number above 0"),
            ("nodes --token secret", "unrecognized arguments: --token secret"),
        ):
            with redirect_stderr(StringIO()) as errors, self.assertRaises(SystemExit) as caught:
                parse(words.split())
            self.assertEqual(caught.exception.code, 2)
            self.assertIn(reason, errors.getvalue())
        for words in ("--help", "drain --help", "--version"):
            with redirect_stdout(StringIO()) as out, self.assertRaises(SystemExit) as caught:
                parse(words.split())
            self.assertEqual(caught.exception.code, 0)
            self.assertIn("infernet-router", out.getvalue())


class TokenTests(SynchronousTestCase):
    def test_found(self) -> None:
        """A file beats the variable; without both, there is no token."""
        path = Path(self.mktemp())
        path.write_text("secret\n")
        self.assertEqual(find_token(str(path), {"INFERNET_ROUTER_ADMIN_TOKEN": "x"}), "secret")
        self.assertEqual(find_token(None, {"INFERNET_ROUTER_ADMIN_TOKEN": " x\n"}), "x")
        self.assertIsNone(find_token(None, {"INFERNET_ROUTER_ADMIN_TOKEN": ""}))

    def test_bad(self) -> None:
        """What is no token is refused, and not shown."""
        path = Path(self.mktemp())
        for content in (b"", b"bob operator secret\n", b"sec\nret", b"secr\xc3\xa4t", b"s\0t"):
            path.write_bytes(content)
            with self.assertRaises(BadArguments) as caught:
                find_token(str(path), {})
            self.assertEqual(str(caught.exception), f"{path} must hold one token and nothing else")
        path.unlink()
        with self.assertRaises(BadArguments) as caught:
            find_token(str(path), {})
        self.assertEqual(str(caught.exception), f"cannot read {path}: No such file or directory")
        self.assertRaises(BadArguments, find_token, None, {"INFERNET_ROUTER_ADMIN_TOKEN": "a b"})
