"""Tests of infernet_router.quoting."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.quoting import host_port, quoted


class QuotedTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A plain text is put in quotes."""
        self.assertEqual(quoted("llm"), "'llm'")

    def test_forged_line(self) -> None:
        """Line breaks, control characters and invisible ones are escaped."""
        self.assertEqual(quoted("a\n2026 up\x1b[2J\u202e"), "'a\\n2026 up\\x1b[2J\\u202e'")

    def test_bytes(self) -> None:
        """Bytes that are not UTF-8 are shown as bytes; texts that only look like them are not."""
        self.assertEqual(
            quoted(b"n\xf6\xff\\".decode("utf-8", "surrogateescape")), r"'n\xf6\xff\\'"
        )
        self.assertEqual(quoted("\ud800\udc7f\\udcff"), r"'\ud800\udc7f\\udcff'")

    def test_long(self) -> None:
        """A very long text is cut, and visibly so."""
        self.assertEqual(quoted("x" * 10_000), f"'{'x' * 200}…'")


class HostPortTests(SynchronousTestCase):
    def test_brackets(self) -> None:
        """An IPv6 address is in brackets, all else is not."""
        self.assertEqual(host_port("2001:db8::1", 4000), "[2001:db8::1]:4000")
        self.assertEqual(host_port("192.0.2.1", 80), "192.0.2.1:80")
        self.assertEqual(host_port("node.invalid", 1), "node.invalid:1")
