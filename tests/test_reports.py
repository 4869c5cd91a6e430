"""Tests of infernet_router.reports."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.reports import (
    MAX_BYTES,
    BadReport,
    Container,
    NodeReport,
    decode_report,
)

INFO = (
    b'{"chain":{"address":"","enabled":false},"containers":[{"description":"Hello World'
    b' container","external":true,"id":"hello-world","image":"ritualnetwork/hello-world-infernet'
    b':latest"},{"description":"","external":false,"id":"internal-helper","image":""}],'
    b'"pending":{"offchain":5,"onchain":0},"version":"1.4.0"}'
)
"""GET /info of an Infernet Node 1.4.0, to the letter."""


def info(**changes: Any) -> bytes:
    """The report of a node with some keys changed."""
    return json.dumps(json.loads(INFO) | changes).encode()


class DecodeReportTests(SynchronousTestCase):
    def assert_bad(self, body: bytes, reason: str) -> None:
        with self.assertRaises(BadReport, msg=body[:80]) as caught:
            decode_report(body)
        self.assertEqual(str(caught.exception), reason)

    def test_real(self) -> None:
        """The answer of a real node is understood."""
        self.assertEqual(
            decode_report(INFO),
            NodeReport(
                containers=(
                    Container("hello-world", external=True, description="Hello World container"),
                    Container("internal-helper", external=False),
                ),
                pending={"offchain": 5, "onchain": 0},
                version="1.4.0",
            ),
        )

    def test_least(self) -> None:
        """What the router does not need may be missing, and what it does not know be there."""
        report = decode_report(
            b'{"containers":[{"id":"","external":true}],"new":[1,{}],'
            b'"pending":{"offchain":0,"onchain":1,"other":2}}'
        )
        self.assertEqual(report.containers, (Container("", external=True),))
        self.assertEqual(sum(report.pending.values()), 3)

    def test_same_id_twice(self) -> None:
        """An id that is listed twice is one container, external if either is."""
        entries = [
            {"id": "llm", "external": False, "description": "inner"},
            {"id": "prover", "external": True},
            {"id": "llm", "external": True, "description": "outer"},
            {"id": "llm", "external": False},
        ]
        self.assertEqual(
            decode_report(info(containers=entries)).containers,
            (
                Container("llm", external=True, description="outer"),
                Container("prover", external=True),
            ),
        )

    def test_bad_pending(self) -> None:
        """A count of pending jobs must be one, exactly."""
        for text, reason in [
            (b'"5"', "pending.offchain is not a number"),
            (b"true", "pending.offchain is not a number"),
            (b"null", "pending.offchain is not a number"),
            (b"[1]", "pending.offchain is not a number"),
            (b"5.0", "pending.offchain is not a whole number"),
            (b"1e2", "pending.offchain is not a whole number"),
            (b"-1", "pending.offchain is negative"),
            (b"1000001", "pending.offchain is more than 1000000"),
            (b"9223372036854775808", "pending.offchain is more than 1000000"),
            (b"1e999", "pending: number out of range"),
        ]:
            self.assert_bad(INFO.replace(b'"offchain":5', b'"offchain":' + text), reason)
        self.assert_bad(info(pending={"offchain": 1}), "pending.onchain is missing")
        self.assert_bad(
            info(pending={"offchain": 1, "onchain": 1, "a\n": -1}), "pending['a\\n'] is negative"
        )
        self.assert_bad(
            info(pending={"offchain": 1, "onchain": 1} | {str(n): 1 for n in range(15)}),
            "pending has more than 16 kinds",
        )
        self.assert_bad(info(pending=[]), "pending is not an object")

    def test_bad_shape(self) -> None:
        """A report of another shape is refused, naming the part that is wrong."""
        for body, reason in [
            (b"", "the report is not JSON: Input data was truncated"),
            (b"[]", "the report is not an object"),
            (b"{}", "containers is missing"),
            (b'{"containers":[]}', "pending is missing"),
            (b'{"containers":{}}', "containers is not a list"),
            (b'{"containers":[1]}', "containers[0] is not an object"),
            (
                b'{"containers":[{"id":"a","external":1}]}',
                "containers[0].external is not true or false",
            ),
            (b'{"containers":[{"external":true}]}', "containers[0].id is missing"),
            (b'{"containers":[{"id":7}]}', "containers[0].id is not a string"),
            (b'{"containers":[],"version":1}', "version is not a string"),
            (b'{"containers":[{"id":"\xff"}]}', "the report is not UTF-8"),
            (b'{"x":' + b"[" * 100_000, "the report is nested too deeply"),
        ]:
            self.assert_bad(body, reason)
        for body in (b"<html>", INFO + b"x", INFO[:-1], b'{"containers":[{"id":"\\ud800"}]}'):
            with self.assertRaises(BadReport) as caught:
                decode_report(body)
            self.assertIn("the report is not JSON", str(caught.exception))

    def test_limits(self) -> None:
        """A report that is larger than any real one is refused."""
        container = {"id": "a", "external": True}
        self.assertEqual(len(decode_report(info(containers=[container] * 1000)).containers), 1)
        self.assert_bad(
            info(containers=[container] * 1001), "containers has more than 1000 entries"
        )
        self.assert_bad(
            info(containers=[container | {"id": "x" * 257}]),
            "containers[0].id has more than 256 characters",
        )
        self.assert_bad(
            info(containers=[container | {"description": "x" * 10_001}]),
            "containers[0].description has more than 10000 characters",
        )
        self.assert_bad(info(version="x" * 257), "version has more than 256 characters")
        self.assert_bad(INFO + b" " * MAX_BYTES, "the report is larger than 1024 KiB")

    def test_odd_complaint(self) -> None:
        """A complaint of the decoder that has no words of ours names the part all the same."""
        self.assert_bad(
            info(pending={"x" * 257: 1, "offchain": 1, "onchain": 1}),
            "pending has more than 256 characters",
        )

    @given(st.binary())
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes are a report, or refused with a reason on one line."""
        try:
            decode_report(body)
        except BadReport as error:
            self.assertTrue(str(error) and str(error).isprintable())

    @given(
        st.integers(0, len(INFO) - 1), st.integers(0, 40), st.binary(max_size=12) | st.just(b"1e9")
    )
    def test_mutated(self, start: int, length: int, patch: bytes) -> None:
        """A report with any part replaced is a report with sane counts, or refused."""
        try:
            report = decode_report(INFO[:start] + patch + INFO[start + length :])
        except BadReport as error:
            self.assertTrue(str(error).isprintable())
        else:
            self.assertTrue(all(type(n) is int and n >= 0 for n in report.pending.values()))
