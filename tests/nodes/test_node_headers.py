"""Tests of infernet_router.nodes.node_headers."""

from pathlib import Path
from typing import Any

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.nodes.asking import ask
from infernet_router.nodes.node_headers import BadHeader, NodeHeader, WithHeaders, parse_headers


class ParseHeadersTests(SynchronousTestCase):
    def assert_bad(self, text: str, reason: str) -> None:
        with self.assertRaises(BadHeader) as caught:
            parse_headers(text)
        self.assertEqual(str(caught.exception), reason)

    def test_header(self) -> None:
        """A header is a name, a colon and a value; blanks around the value are not part of it."""
        for text in ("X-Key: a: b", "X-Key:a: b \t"):
            self.assertEqual(parse_headers(text), (NodeHeader("X-Key", "a: b"),))

    def test_secret(self) -> None:
        """The value is shown nowhere."""
        (header,) = parse_headers("X-Key: secret")
        self.assertEqual((str(header), repr(header)), ("X-Key", "NodeHeader(name='X-Key')"))

    def test_malformed(self) -> None:
        """A malformed header is refused without showing its value."""
        shape = "it must be 'NAME: VALUE', and NAME the name of an HTTP header"
        for text in ("", "secret", ": secret", "a b: secret", "a\r\nb: secret", "X-Key : secret"):
            self.assert_bad(text, shape)
        self.assert_bad("X-Key:  ", "X-Key has no value")
        for value in ("a\r\nHost: b", "a\nb", "a\0", "\x7f", "é", "\udcff"):
            self.assert_bad(
                f"X-Key: {value}", "the value of X-Key has characters that are not printable ASCII"
            )
        self.assert_bad("X-Key: " + "x" * 4097, "the value of X-Key has more than 4096 characters")

    def test_own(self) -> None:
        """Headers that would break the connection or change the answer are refused."""
        for name in ("Host", "content-length", "Transfer-Encoding", "CONNECTION", "Range"):
            self.assert_bad(
                f"{name}: secret", f"{name} is a header that the router sets itself, or cannot send"
            )

    def test_file(self) -> None:
        """A file has a header in each line; an error names the line."""
        path = Path(self.mktemp())
        path.write_bytes(b"Authorization: Bearer x\r\n\n  \nX-Key: y")
        expected = (NodeHeader("Authorization", "Bearer x"), NodeHeader("X-Key", "y"))
        self.assertEqual(parse_headers(f"@{path}"), expected)
        path.write_text("X-Key: x\nsecret\n")
        self.assert_bad(
            f"@{path}",
            f"'{path}', line 2: it must be 'NAME: VALUE', and NAME the name of an HTTP header",
        )
        path.write_text("\n")
        self.assert_bad(f"@{path}", f"'{path}' is empty")
        path.write_bytes(b"X-Key: \xff")
        self.assert_bad(f"@{path}", f"cannot read '{path}': it is not UTF-8 text")
        self.assert_bad("@/no/file", "cannot read /no/file: No such file or directory")
        self.assert_bad("@a\0b", "cannot read 'a\\x00b': it is not UTF-8 text")


class Echo(Resource):
    """Answers with some of the headers of a request."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        lines: Any = (
            request.requestHeaders.getRawHeaders(name, [])
            for name in ("x-key", "accept", "user-agent")
        )
        return repr([list(each) for each in lines]).encode()


class WithHeadersTests(SynchronousTestCase):
    def test_sent(self) -> None:
        """Headers are added to the router's own, or replace them; a name may occur twice."""
        headers = [NodeHeader("X-Key", "a"), NodeHeader("x-key", "b"), NodeHeader("Accept", "c")]
        nodes: Any = StubTreq(Echo())
        http = WithHeaders(nodes, headers)
        asked = ask(http, "http://192.0.2.1/", Clock(), 3.0)
        self.assertRegex(
            self.successResultOf(asked).decode(),
            r"^\[\['a', 'b'\], \['c'\], \['infernet-router/.*'\]\]$",
        )
