"""
DNS messages (RFC 1035, section 4): encodes a question, and decodes the answer.

Twisted refuses a message with more than a thousand compressed names, which is a name with a
thousand addresses; dnspython takes 86 ms for 4,000 of them, when the router answers nobody. This
takes 4 ms, as it knows only the few types that the router asks for. What a hostile message can cost
is bounded: each name is decoded once, wherever it is repeated, and pointers lead backwards only.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from socket import AF_INET6, inet_ntoa, inet_ntop

from attrs import frozen

A, CNAME, AAAA, SRV = 1, 5, 28, 33
TYPES = {A: "A", AAAA: "AAAA", SRV: "SRV"}
"""The record types that the router asks for, and their names."""

OK, NO_SUCH_NAME = 0, 3
"""Response codes (RFC 1035, section 4.1.1)."""

MAX_BYTES = 65535
"""The longest message that fits in a TCP stream (RFC 1035, section 4.2.2)."""

_IN = 1
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_RESPONSE, _TRUNCATED, _RECURSION_DESIRED = 0x8000, 0x0200, 0x0100
_CODE = 0x000F
_POINTER = 0xC0
_MAX_LABEL, _MAX_NAME = 63, 253


class Malformed(ValueError):
    """A message is no answer to the question; the message of this exception says why."""


@frozen
class Record:
    """One resource record."""

    type: int
    ttl: int
    """Seconds for which it is valid."""
    host: str
    """The IP address, the target of an SRV record, or the name that an alias stands for."""
    port: int = 0
    """The port of an SRV record."""


@frozen
class Message:
    """The answer to a question."""

    code: int
    truncated: bool
    """Whether there are more records than the message has."""
    answers: Sequence[Record]
    """The records of the types above; others are left out."""
    additional: Mapping[str, Sequence[Record]]
    """More records that the server sent, by the name that has them, in lower case."""


def encode_question(number: int, name: str, rrtype: int) -> bytes:
    """A query for the records that a name has of one type; `number` is its id."""
    labels = (label.encode("ascii") for label in name.split("."))
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + encoded + b"\0" + struct.pack("!HH", rrtype, _IN)


def decode_answer(data: bytes, question: bytes) -> Message:
    """
    Decode the answer to a question, as encode_question made it.

    :raises Malformed: when it is anything else.
    """
    if len(data) < _HEADER.size:
        raise Malformed("it is shorter than a header")
    _, flags, questions, *counts = _HEADER.unpack_from(data)
    if data[:2] != question[:2] or not flags & _RESPONSE:
        raise Malformed("it does not belong to the question")
    asked, start = question[_HEADER.size :], _HEADER.size
    if questions:  # a server that does not understand the question may leave it out
        start += len(asked)
        if questions > 1 or data[_HEADER.size : start].lower() != asked.lower():
            raise Malformed("it repeats another question")
    answers: list[Record] = []
    additional: dict[str, list[Record]] = {}
    try:
        _read_records(_Reader(data, start), counts, answers, additional)
    except (IndexError, struct.error):
        if not flags & _TRUNCATED:  # which may be anywhere
            raise Malformed("it ends too early") from None
    return Message(flags & _CODE, bool(flags & _TRUNCATED), answers, additional)


def _read_records(
    reader: "_Reader",
    counts: Sequence[int],
    answers: list[Record],
    additional: dict[str, list[Record]],
) -> None:
    """Read the three sections of a message."""
    for _, record in reader.records(counts[0]):
        answers.append(record)
    for _ in range(counts[1]):
        reader.skip_record()
    for owner, record in reader.records(counts[2], owners=True):
        additional.setdefault(owner, []).append(record)


class _Reader:
    """Reads the records of a message, one after the other."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._offset = offset
        self._names: dict[int, str] = {}
        """The name that begins at an offset, for those that were decoded."""

    def records(self, count: int, *, owners: bool = False) -> Iterator[tuple[str, Record]]:
        """
        The next records, those of other types left out.

        :param owners: whether to decode the names that have the records; each is "" otherwise.
        """
        data = self._data
        for _ in range(count):
            owner = self._name(self._offset)[0].lower() if owners else ""
            rrtype, ttl, start, end = self.skip_record()
            size = end - start
            if rrtype == A and size == 4:
                yield owner, Record(A, ttl, inet_ntoa(data[start:end]))
            elif rrtype == AAAA and size == 16:
                yield owner, Record(AAAA, ttl, inet_ntop(AF_INET6, data[start:end]))
            elif rrtype == SRV:
                _, _, port = _SRV.unpack_from(data, start)
                yield owner, Record(SRV, ttl, self._rdata_name(start + _SRV.size, end), port)
            elif rrtype == CNAME:
                yield owner, Record(CNAME, ttl, self._rdata_name(start, end))
            elif rrtype in (A, AAAA):
                raise Malformed(f"it has an address of {size} bytes")

    def skip_record(self) -> tuple[int, int, int, int]:
        """The type and TTL of the next record, and where its data begins and ends."""
        data, offset = self._data, self._offset
        while 0 < (length := data[offset]) <= _MAX_LABEL:
            offset += length + 1
        if 0 < length < _POINTER:
            raise Malformed("a name has a label of an unknown kind")
        offset += 2 if length else 1
        rrtype, rrclass, ttl, size = _RECORD.unpack_from(data, offset)
        start = offset + _RECORD.size
        self._offset = end = start + size
        if end > len(data):
            raise IndexError
        return rrtype if rrclass == _IN else 0, ttl, start, end

    def _rdata_name(self, start: int, end: int) -> str:
        """The name that fills the data of a record."""
        name, after = self._name(start)
        if after != end:
            raise Malformed("a name is longer or shorter than its record")
        return name

    def _name(self, offset: int) -> tuple[str, int]:
        """The name at an offset, without a dot at its end, and the offset after it."""
        data, names = self._data, self._names
        parts: list[tuple[int, str]] = []
        """Where each label or pointer is, and the label with its dot; "" for a pointer."""
        size, after, before = 0, 0, offset
        while (rest := names.get(offset)) is None:
            length = data[offset]
            if length >= _POINTER:
                parts.append((offset, ""))
                after = after or offset + 2
                offset = (length - _POINTER) << 8 | data[offset + 1]
                if offset >= before:  # each pointer points before all that was read so far
                    raise Malformed("a compression pointer does not point backwards")
                before = offset
            elif length == 0:
                rest = ""
                after = after or offset + 1
                break
            elif length > _MAX_LABEL:
                raise Malformed("a name has a label of an unknown kind")
            else:
                label = data[offset + 1 : offset + 1 + length].decode("ascii", "surrogateescape")
                parts.append((offset, label.replace(".", r"\.") + "."))
                size += length + 1
                offset += length + 1
            if size > _MAX_NAME + 1:
                raise Malformed(f"a name is longer than {_MAX_NAME} characters")
        name = rest
        for position, label in reversed(parts):
            names[position] = name = label + name
        if len(name) > _MAX_NAME + 1:
            raise Malformed(f"a name is longer than {_MAX_NAME} characters")
        return name.removesuffix("."), after
