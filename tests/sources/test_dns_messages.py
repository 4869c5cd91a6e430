"""Tests of infernet_router.sources.dns_messages, with messages made by Twisted or by hand."""

import contextlib  # a `suppress` in this module would have a meaning for trial
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.sources.dns_messages import (
    AAAA,
    CNAME,
    MAX_BYTES,
    NO_SUCH_NAME,
    OK,
    SRV,
    A,
    Malformed,
    Message,
    Record,
    decode_answer,
    encode_question,
)

NAME = "nodes.invalid"
QUESTION = encode_question(7, NAME, A)
ENCODED = QUESTION[12:-4]


def header(name: str, payload: Any, ttl: int = 60, cls: int = dns.IN) -> dns.RRHeader:
    return dns.RRHeader(name, payload.TYPE, cls, ttl, payload)


def reply(
    answers: Sequence[dns.RRHeader],
    additional: Sequence[dns.RRHeader] = (),
    authority: Sequence[dns.RRHeader] = (),
    **fields: Any,
) -> bytes:
    """The bytes of an answer to QUESTION."""
    message = dns.Message(7, answer=1, **fields)
    message.queries = [dns.Query(NAME, dns.A)]
    message.answers, message.additional = list(answers), list(additional)
    message.authority = list(authority)
    return message.toStr()


def by_hand(
    *records: tuple[bytes, int, bytes], flags: int = 0x8180, owners: str = "answer"
) -> bytes:
    """The bytes of an answer to QUESTION, of records with an encoded owner, a type and data."""
    counts = (len(records), 0, 0) if owners == "answer" else (0, 0, len(records))
    return b"".join(
        [
            struct.pack("!6H", 7, flags, 1, *counts),
            QUESTION[12:],
            *(o + struct.pack("!HHIH", t, 1, 60, len(data)) + data for o, t, data in records),
        ]
    )


def srv(target: bytes, port: int = 4000) -> bytes:
    return struct.pack("!HHH", 0, 0, port) + target


class EncodeTests(SynchronousTestCase):
    def test_question(self) -> None:
        """A question is what Twisted decodes as one, and asks for recursion."""
        message = dns.Message()
        message.fromStr(encode_question(513, "_a._tcp.nodes.invalid", SRV))
        self.assertEqual((message.id, message.answer, message.recDes), (513, 0, 1))
        self.assertEqual(message.queries, [dns.Query(b"_a._tcp.nodes.invalid", dns.SRV)])


class DecodeTests(SynchronousTestCase):
    def assert_malformed(self, data: bytes, why: str) -> None:
        with self.assertRaisesRegex(Malformed, why):
            decode_answer(data, QUESTION)

    def test_records(self) -> None:
        """Records of the types that the router knows are decoded; others are skipped."""
        data = reply(
            [
                header(NAME, dns.Record_CNAME("Other.invalid"), 5),
                header("other.invalid", dns.Record_TXT(b"text")),
                header("other.invalid", dns.Record_A("192.0.2.1"), 30),
                header("other.invalid", dns.Record_A("192.0.2.2"), cls=dns.CH),
                header("other.invalid", dns.Record_AAAA("2001:db8::1")),
                header("other.invalid", dns.Record_SRV(1, 2, 4000, "a.other.invalid")),
                header("other.invalid", dns.Record_SRV(1, 2, 4000, "")),
            ],
            [header("A.other.invalid", dns.Record_A("192.0.2.3"))],
            [header("invalid", dns.Record_NS("ns.invalid"))],
        )
        self.assertEqual(
            decode_answer(data, QUESTION),
            Message(
                OK,
                False,
                [
                    Record(CNAME, 5, "Other.invalid"),
                    Record(A, 30, "192.0.2.1"),
                    Record(AAAA, 60, "2001:db8::1"),
                    Record(SRV, 60, "a.other.invalid", 4000),
                    Record(SRV, 60, "", 4000),
                ],
                {"a.other.invalid": [Record(A, 60, "192.0.2.3")]},
            ),
        )

    def test_many(self) -> None:
        """As many records as a message can hold are decoded, with addresses or with targets."""
        pointer = b"\xc0\x0c"
        for kind, room in ((A, 16), (AAAA, 28), (SRV, 20)):
            data = {A: b"\1\2\3\4", AAAA: bytes(16), SRV: srv(pointer)}[kind]
            most = (MAX_BYTES - len(QUESTION)) // room
            message = by_hand(*[(pointer, kind, data)] * most)
            self.assertGreater(len(message), MAX_BYTES - room)
            self.assertEqual(len(decode_answer(message, QUESTION).answers), most)

    def test_flags(self) -> None:
        """The response code is kept, and a truncated message gives the records that it has."""
        self.assertEqual(decode_answer(reply([], rCode=3), QUESTION).code, NO_SUCH_NAME)
        whole = reply([header(NAME, dns.Record_A("192.0.2.1"))] * 2, trunc=1)
        for size, count in ((len(whole), 2), (len(whole) - 1, 1), (len(QUESTION), 0)):
            message = decode_answer(whole[:size], QUESTION)
            self.assertEqual((message.truncated, len(message.answers)), (True, count))

    def test_no_question(self) -> None:
        """A server that does not understand the question may leave it out of the answer."""
        data = struct.pack("!6H", 7, 0x8181, 0, 0, 0, 0)
        self.assertEqual(decode_answer(data, QUESTION).code, 1)

    def test_letter_case(self) -> None:
        """The answer may repeat the question in another letter case."""
        data = by_hand((b"\xc0\x0c", A, b"\1\2\3\4")).replace(b"nodes", b"NODES")
        self.assertEqual(decode_answer(data, QUESTION).answers, [Record(A, 60, "1.2.3.4")])

    def test_malformed(self) -> None:
        """A message that is not an answer to the question is refused."""
        whole = reply([header(NAME, dns.Record_A("192.0.2.1"))])
        self.assert_malformed(b"", "shorter than a header")
        self.assert_malformed(QUESTION, "does not belong")
        self.assert_malformed(b"\0\1" + whole[2:], "does not belong")
        self.assert_malformed(whole.replace(b"nodes", b"modes"), "another question")
        self.assert_malformed(whole[:4] + b"\0\2" + whole[6:], "another question")
        for size in range(len(QUESTION), len(whole)):
            self.assert_malformed(whole[:size], "ends too early")
        self.assert_malformed(by_hand((ENCODED, A, b"\1\2\3")), "an address of 3 bytes")
        self.assert_malformed(by_hand((b"\x40", A, b"\1\2\3\4")), "unknown kind")
        self.assert_malformed(by_hand((b"\0", SRV, srv(b"\x80\0"))), "unknown kind")
        self.assert_malformed(by_hand((b"\0", CNAME, b"\1a\0\0")), "longer or shorter")
        self.assert_malformed(by_hand((b"\0", CNAME, b"\1a")), "ends too early|longer or shorter")

    def test_pointers(self) -> None:
        """A compression pointer that does not lead backwards is refused, so that none is a loop."""
        start = len(QUESTION) + 1 + 10
        for target in (
            struct.pack("!H", 0xC000 | start),
            b"\1a" + struct.pack("!H", 0xC000 | start),
            struct.pack("!H", 0xC000 | start + 2) + b"\0",
        ):
            self.assert_malformed(by_hand((b"\0", CNAME, target)), "backwards")
        owner = struct.pack("!H", 0xC000 | len(QUESTION))
        self.assert_malformed(by_hand((owner, A, bytes(4)), owners="more"), "backwards")

    def test_long_names(self) -> None:
        """A name that is too long is refused, also when compression has made it so."""
        long = b"".join(b"\x3f" + b"a" * 63 for _ in range(4))
        self.assert_malformed(by_hand((b"\0", CNAME, long + b"\0")), "longer than 253")
        start = len(QUESTION) + 1 + 10
        half = (b"\x3f" + b"a" * 63) * 2
        pointer = struct.pack("!H", 0xC000 | start)
        records = ((b"\0", CNAME, half + b"\0"), (b"\0", CNAME, half + pointer))
        self.assertEqual(len(decode_answer(by_hand(*records[:1]), QUESTION).answers), 1)
        self.assert_malformed(by_hand(*records), "longer than 253")

    def test_dots(self) -> None:
        """A dot inside a label is escaped, so that it cannot pass for another name."""
        (record,) = decode_answer(by_hand((b"\0", CNAME, b"\3a.b\0")), QUESTION).answers
        self.assertEqual(record.host, r"a\.b")

    @given(st.binary(), st.integers(0, 65535))
    def test_any_bytes(self, data: bytes, count: int) -> None:
        """Any bytes are decoded or refused."""
        counts = struct.pack("!HHH", count, count % 7, count % 5)
        for flags in (b"\x80\0", b"\x82\0"):
            start = QUESTION[:2] + flags + b"\0\1" + counts + QUESTION[12:]
            with contextlib.suppress(Malformed):
                decode_answer(start + data, QUESTION)
