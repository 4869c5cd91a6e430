"""Tests of infernet_router.reports."""

import json
import sys
from typing import Any

from hypothesis import given, settings
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
"""GET /info of an Infernet Node 1.4.0, byte for byte."""

DEEP = "the report is nested too deeply" if sys.version_info < (3, 14) else None
"""From 3.14 on, Python bounds the depth by its stack, which has room for any report."""

MALFORMED = "the report is not JSON: JSON is malformed"

PATCHES = (
    *(b"-1", b"5.0", b"1e999", b"9223372036854775808", b"true", b"null", b'"', b"\\", b"{}", b"[]"),
    *(
        rb"\ud800",
        rb"\udc00",
        rb"\u202e",
        rb"\n",
        b"\n",
        b"\xff",
        b"\xed\xa0\x80",
        "\U000e0001".encode(),
    ),
    *(b"x" * 257, b"x" * 10_001, b"9" * 5000, b"[" * 5000, b'{"a":' * 5000, b" " * 131_072),
    *(b'"offchain":', b'"onchain":', b'"pending":', b'"containers":', b'"id":', b'"version":'),
    b'{"id":"a","external":true},' * 1001,
)
"""Replacements that may make a report invalid."""

LONGEST_REASON = 2500
"""The most characters of a reason: 200 from the node may be shown, each as up to 10."""


def assert_sane(body: bytes) -> None:
    """The body is a report within the limits, or is refused with a short, printable reason."""
    try:
        report = decode_report(body)
    except BadReport as error:
        assert 0 < len(str(error)) <= LONGEST_REASON and str(error).isprintable(), str(error)
        return
    texts = [(report.version, 256), *((kind, 256) for kind in report.pending)]
    for container in report.containers:
        texts += [(container.id, 256), (container.description, 10_000)]
        assert type(container.external) is bool, container
    for text, most in texts:
        assert type(text) is str and len(text) <= most, text
        assert text.encode().decode() == text, text
    assert len({container.id for container in report.containers}) == len(report.containers) <= 1000
    assert {"offchain", "onchain"} <= report.pending.keys() and len(report.pending) <= 16
    for count in report.pending.values():
        assert type(count) is int and 0 <= count <= 1_000_000, count


def info(**changes: Any) -> bytes:
    """The report of a node with some keys changed."""
    return json.dumps(json.loads(INFO) | changes).encode()


class DecodeReportTests(SynchronousTestCase):
    def assert_bad(self, body: bytes, reason: str) -> None:
        with self.assertRaises(BadReport, msg=body[:80]) as caught:
            decode_report(body)
        self.assertEqual(str(caught.exception), reason)

    def test_real(self) -> None:
        """The answer of a real node is a valid report."""
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

    def test_other_keys(self) -> None:
        """Keys that the router does not need may be missing; unknown keys are ignored."""
        report = decode_report(
            b'{"containers":[{"id":"","external":true}],"new":[1,{}],'
            b'"pending":{"offchain":0,"onchain":1,"other":2}}'
        )
        self.assertEqual(report.containers, (Container("", external=True),))
        self.assertEqual(sum(report.pending.values()), 3)

    def test_same_id_twice(self) -> None:
        """An id that is listed twice is one container, external if either entry is."""
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
        """A count of pending jobs must be a whole number within its limits."""
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
            (b"1e999", "pending.offchain is not a whole number"),
            (b"1" + b"0" * 100_000, "pending.offchain is more than 1000000"),
            (b"-1" + b"0" * 100_000, "pending.offchain is negative"),
            (b"05", f"{MALFORMED}: invalid number (byte 275)"),
            (b"[" * 100_000, DEEP or f"{MALFORMED}: invalid character (byte 100274)"),
        ]:
            self.assert_bad(INFO.replace(b'"offchain":5', b'"offchain":' + text), reason)
        for text, count in ((b"-0", 0), (b"1000000", 1_000_000), (b" 7\n", 7)):
            report = decode_report(INFO.replace(b'"offchain":5', b'"offchain":' + text))
            self.assertEqual(report.pending, {"offchain": count, "onchain": 0})
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
        """A malformed report is refused; the reason names the malformed part."""
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
            (b'{"x":' + b"[" * 100_000, DEEP or "the report is not JSON: Input data was truncated"),
        ]:
            self.assert_bad(body, reason)
        for body in (b"<html>", INFO + b"x", INFO[:-1], b"\xef\xbb\xbf" + INFO):
            self.assert_not_json(body)

    def test_bad_text(self) -> None:
        """Text that cannot be encoded again, or has raw control characters, is refused anywhere."""
        for place in (b"hello-world", b"Hello World container", b"1.4.0", b"chain", b"address"):
            for text in (rb"\ud800", rb"\udc00", rb"\ud800\ud800", b"\n", b"\x00", b"\x1b"):
                self.assert_not_json(INFO.replace(place, text))
            for text in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
                self.assert_bad(INFO.replace(place, text), "the report is not UTF-8")

    def test_odd_text(self) -> None:
        """Any other text is accepted unchanged."""
        for text in ("\U0001f600", "\u202e", "\x00\n\x1b[2J", "<b>", "\x7f\x85\u2028"):
            (container,) = decode_report(
                info(containers=[{"id": text, "external": True}])
            ).containers
            self.assertEqual(container.id, text)

    def test_key_twice(self) -> None:
        """Of a repeated key, the last value counts, but all must be valid."""
        container = b'{"id":"a","external":false,"id":"b","external":true}'
        report = decode_report(
            b'{"containers":[],"pending":{"offchain":1,"onchain":2,"offchain":3},'
            b'"containers":[%s]}' % container
        )
        self.assertEqual(report.containers, (Container("b", external=True),))
        self.assertEqual(report.pending, {"offchain": 3, "onchain": 2})
        self.assert_bad(b'{"containers":[1],' + INFO[1:], "containers[0] is not an object")

    def assert_not_json(self, body: bytes) -> None:
        with self.assertRaises(BadReport, msg=body) as caught:
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
        self.assert_bad(INFO + b" " * MAX_BYTES, "the report is larger than 128 KiB")

    def test_odd_complaint(self) -> None:
        """An error of the decoder that is not reworded still names the malformed part."""
        self.assert_bad(
            info(pending={"x" * 257: 1, "offchain": 1, "onchain": 1}),
            "pending has more than 256 characters",
        )

    @given(st.binary())
    def test_any_bytes(self, body: bytes) -> None:
        """Any bytes are either a valid report, or refused."""
        assert_sane(body)

    @settings(max_examples=10_000)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, len(INFO)),
                st.integers(0, 40),
                st.sampled_from(PATCHES) | st.binary(max_size=12),
            ),
            min_size=1,
            max_size=3,
        )
    )
    def test_mutated(self, changes: list[tuple[int, int, bytes]]) -> None:
        """A report with any parts replaced is either a valid report, or refused."""
        body = INFO
        for start, length, patch in changes:
            body = body[:start] + patch + body[start + length :]
        assert_sane(body)

    def test_longest_reason(self) -> None:
        """A reason names what is wrong, but has a limited length."""
        kind = "\U000e0001" * 256
        body = info(pending={"offchain": 0, "onchain": 0, kind: -1})
        assert_sane(body)
        with self.assertRaises(BadReport) as caught:
            decode_report(body)
        self.assertGreater(len(str(caught.exception)), LONGEST_REASON // 2)
