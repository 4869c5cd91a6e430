"""Tests of infernet_router.sources.node_explorer."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from infernet_router.addresses import parse_address
from infernet_router.process import Slices
from infernet_router.sources.asked import Answer
from infernet_router.sources.joining import BadSource
from infernet_router.sources.node_explorer import ask_explorer, decode_nodes


class Explorer(Resource):
    """A Node Explorer that always answers with `body`, or never when that is None."""

    isLeaf = True

    def __init__(self, body: bytes | None, status: int = 200) -> None:
        super().__init__()
        self._body = body
        self._status = status
        self.asked: list[tuple[str, bytes]] = []

    def render(self, request: Request) -> bytes | int:
        self.asked.append((request.getRequestHostname().decode(), request.uri))
        request.setResponseCode(self._status)
        return NOT_DONE_YET if self._body is None else self._body


class AskExplorerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def ask(self, explorer: Explorer, url: str = "https://explorer.invalid") -> Deferred[Answer]:
        http: Any = StubTreq(explorer)
        return Deferred.fromCoroutine(
            ask_explorer(
                http, parse_address(url), self.clock, Slices(self.clock, seconds=self.clock.seconds)
            )
        )

    def test_asked(self) -> None:
        """It requests the nodes of the last hour; the answer is valid for a minute."""
        explorer = Explorer(b'{"data":[{"ip":"192.0.2.1"}]}')
        for url in ("https://explorer.invalid", "https://explorer.invalid/a/"):
            answer = self.successResultOf(self.ask(explorer, url))
        self.assertEqual(answer, Answer((parse_address("192.0.2.1:4000"),), seconds=60.0))
        self.assertEqual(
            explorer.asked,
            [
                ("explorer.invalid", b"/api/nodes?minutes_past=60"),
                ("explorer.invalid", b"/a/api/nodes?minutes_past=60"),
            ],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_answer(self) -> None:
        """A failed request raises the reason."""
        for explorer, reason in (
            (Explorer(b"<b>", 503), "HTTP 503"),
            (Explorer(b" " * (1024 * 1024 + 1)), "its answer is larger than 1024 KiB"),
        ):
            failed = self.failureResultOf(self.ask(explorer), BadSource)
            self.assertEqual(str(failed.value), reason)
        asked = self.ask(Explorer(None))
        self.clock.advance(10)
        failed = self.failureResultOf(asked, BadSource)
        self.assertEqual(str(failed.value), "timeout after 10 s")


def decoded(body: bytes) -> Answer:
    """What is decoded from the body of an answer, or raised."""
    try:
        decode_nodes(body, Slices(Clock(), seconds=Clock().seconds)).send(None)
    except StopIteration as ended:
        answer: Answer = ended.value
        return answer
    raise AssertionError("it waits for the clock")


class DecodeNodesTests(SynchronousTestCase):
    def test_good(self) -> None:
        """The port defaults to 4000, and IPv6 addresses get brackets."""
        answer = decoded(
            b'{"data": [{"ip": "192.0.2.1", "port": 80, "id": 7}, {"ip": "192.0.2.2"},'
            b' {"ip": "192.0.2.3", "port": null}, {"ip": "2001:DB8::1"},'
            b' {"ip": "2001:db8::2", "port": 4001}], "more": {}}'
        )
        self.assertEqual(
            [str(address) for address in answer.addresses],
            [
                "192.0.2.1:80",
                "192.0.2.2:4000",
                "192.0.2.3:4000",
                "[2001:db8::1]:4000",
                "[2001:db8::2]:4001",
            ],
        )
        self.assertEqual(answer.flaw, "")

    def test_bad_entries(self) -> None:
        """A malformed entry is skipped, and the reason is given."""
        for entry, reason in (
            ("null", "Expected `object`, got `null`"),
            ('"192.0.2.2"', "Expected `object`, got `str`"),
            ("{}", "missing required field `ip`"),
            ('{"ip": 7}', "Expected `str`, got `int` - at `$.ip`"),
            ('{"ip": "node.invalid"}', "'node.invalid' does not appear to be an IPv4 or IPv6"),
            ('{"ip": "192.0.2.2:80"}', "does not appear to be"),
            ('{"ip": "http://192.0.2.2"}', "does not appear to be"),
            ('{"ip": "192.0.2"}', "does not appear to be"),
            ('{"ip": ""}', "does not appear to be"),
            ('{"ip": "fe80::1%eth0"}', "not an IPv6 address"),
            ('{"ip": "0.0.0.0"}', "0.0.0.0 is not the address of a node, but"),
            ('{"ip": "::"}', ":: is not the address of a node, but"),
            ('{"ip": "::ffff:224.0.0.1"}', "224.0.0.1 is not the address of a node, but"),
            ('{"ip": "255.255.255.255"}', "the broadcast address"),
            ('{"ip": "%s"}' % ("1" * 46), "Expected `str` of length <= 45"),
            ('{"ip": "192.0.2.2", "port": 0}', "Expected `int` >= 1"),
            ('{"ip": "192.0.2.2", "port": 65536}', "Expected `int` <= 65535"),
            ('{"ip": "192.0.2.2", "port": "80"}', "Expected `int | null`, got `str`"),
            ('{"ip": "192.0.2.2", "port": 80.0}', "got `float`"),
            ('{"ip": "192.0.2.2", "port": true}', "got `bool`"),
        ):
            answer = decoded(b'{"data": [%s, {"ip": "192.0.2.1"}]}' % entry.encode())
            self.assertEqual(answer.addresses, (parse_address("192.0.2.1:4000"),), entry)
            self.assertIn("1 of 2 entries are malformed, such as ", answer.flaw)
            self.assertIn(reason, answer.flaw, entry)

    def test_bad(self) -> None:
        """An answer that is malformed or has no valid entry is refused."""
        for body, reason in (
            (b"", "its list of nodes is malformed"),
            (b"<html>", "its list of nodes is malformed"),
            (
                b'{"data": [{"ip": "a\\n\\u202eb"}]}',
                r"""entries are malformed, such as '{"ip": "a\\n""",
            ),
            (b"[]", "Expected `object`, got `array`"),
            (b"{}", "missing required field `data`"),
            (b'{"data": {}}', "Expected `array`, got `object`"),
            (b'{"data": [%s]}' % b",".join([b"1"] * 100_001), "length <= 100000"),
            (b'{"data": [{"ip": "\xff"}]}', "1 of 1 entries are malformed, such as"),
            (b'{"data": ' + b"[" * 100_000, "its list of nodes is malformed"),
            (b'{"data": [{"ip": "192.0.2.1"}, "\\ud800"]}', "its list of nodes is malformed"),
            (b'{"data": []}', "it lists no nodes"),
            (b'{"data": [1, 2]}', "2 of 2 entries are malformed, such as '1': Expected `object`"),
        ):
            with self.assertRaises(BadSource, msg=body[:40]) as caught:
                decoded(body)
            self.assertIn(reason, str(caught.exception))

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                        lambda inner: st.lists(inner) | st.dictionaries(
                            st.sampled_from(["data", "ip", "port"]), inner)))  # fmt: skip
    def test_any_json(self, content: object) -> None:
        """Any JSON gives nodes or is refused, and the reason is one printable line."""
        try:
            answer = decoded(msgspec.json.encode(content))
        except BadSource as error:
            self.assertTrue(str(error).isprintable())
        else:
            self.assertTrue(answer.addresses and answer.flaw.isprintable())
