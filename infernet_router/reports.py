"""Reports: decodes and checks what a node answers to GET /info."""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from attrs import frozen
from msgspec import Meta

from infernet_router.quoting import quoted

MAX_BYTES = 128 * 1024
"""The largest report that is read, in bytes; a real one has a few hundred for each container. Three
thousand can be in flight at once: 1000 polls a second, each with a timeout of three seconds."""

KINDS = ("offchain", "onchain")
"""The kinds of pending jobs that every node counts."""

_MAX_CONTAINERS = 1000
_MAX_ID = 256
_MAX_TEXT = 10_000
_MAX_KINDS = 16
_MAX_PENDING = 1_000_000

_NAMES = {
    "int": "a number",
    "str": "a string",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}
_WHOLE = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_COMPLAINT = re.compile(r"(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<where>.*)`)?", re.DOTALL)


class BadReport(ValueError):
    """An answer to GET /info that is not a valid report; the message says what is wrong with it."""


class Container(msgspec.Struct, frozen=True, gc=False):
    """One container that a node lists. A msgspec.Struct decodes in a quarter of attrs' time."""

    id: Annotated[str, Meta(max_length=_MAX_ID)]
    external: bool
    """Whether clients may send a job to it directly."""
    description: Annotated[str, Meta(max_length=_MAX_TEXT)] = ""


@frozen
class NodeReport:
    """What a node says of itself in one answer to GET /info."""

    containers: tuple[Container, ...]
    """The containers it lists, each id once; external if any entry with that id is external."""
    pending: Mapping[str, int]
    """Jobs that wait or run there, by kind (`offchain`, `onchain`)."""
    version: str = ""


class _Info(msgspec.Struct, frozen=True):
    """The parts of GET /info that the router reads, as sent: containers may repeat an id."""

    containers: Annotated[list[Container], Meta(max_length=_MAX_CONTAINERS)]
    pending: dict[Annotated[str, Meta(max_length=_MAX_ID)], msgspec.Raw]
    """By kind, the count as text: msgspec would accept `5.0` as an int, and take long to read a
    number of thousands of digits."""
    version: Annotated[str, Meta(max_length=_MAX_ID)] = ""


_decoder = msgspec.json.Decoder(_Info)


def decode_report(body: bytes) -> NodeReport:
    """
    Read a report.

    Types are exact: `5.0`, `"5"` and `true` are not accepted as numbers of jobs. Unknown keys are
    ignored; of a key that is repeated, the last counts. The body must be UTF-8, and no escape may
    stand for half of a surrogate pair, so that every text in a report can be encoded again.

    :raises BadReport: when `body` is not a valid report, or exceeds a limit.
    """
    if len(body) > MAX_BYTES:
        raise BadReport(f"the report is larger than {MAX_BYTES // 1024} KiB")
    try:
        info = _decoder.decode(body.decode())
    except msgspec.ValidationError as error:
        raise BadReport(_reworded(str(error))) from None
    except msgspec.DecodeError as error:
        raise BadReport(f"the report is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise BadReport("the report is not UTF-8") from None
    except RecursionError:
        raise BadReport("the report is nested too deeply") from None
    return NodeReport(
        containers=_each_once(info.containers),
        pending=_counts(info.pending),
        version=info.version,
    )


def _counts(pending: dict[str, msgspec.Raw]) -> dict[str, int]:
    """The counts of pending jobs, by kind."""
    for kind in KINDS:
        if kind not in pending:
            raise BadReport(f"pending.{kind} is missing")
    if len(pending) > _MAX_KINDS:
        raise BadReport(f"pending has more than {_MAX_KINDS} kinds")
    return {kind: _count(kind, bytes(text)) for kind, text in pending.items()}


def _count(kind: str, text: bytes) -> int:
    """How many jobs of a kind wait or run, from JSON."""
    where = f"pending.{kind}" if kind in KINDS else f"pending[{quoted(kind)}]"
    if text[:1] not in b"-0123456789":
        raise BadReport(f"{where} is not a number")
    if not _WHOLE.fullmatch(text):
        raise BadReport(f"{where} is not a whole number")
    count = int(text[:20])  # enough to be out of range; the rest may be as long as the report
    if count < 0:
        raise BadReport(f"{where} is negative")
    if count > _MAX_PENDING:
        raise BadReport(f"{where} is more than {_MAX_PENDING}")
    return count


def _each_once(containers: list[Container]) -> tuple[Container, ...]:
    """The containers with each id once, in their order."""
    once: dict[str, Container] = {}
    for container in containers:
        known = once.get(container.id)
        if known is None or (container.external and not known.external):
            once[container.id] = container
    return tuple(once.values())


def _reworded(complaint: str) -> str:
    """What msgspec says about a malformed report, reworded for an operator."""
    parts = _COMPLAINT.fullmatch(complaint)
    assert parts is not None
    what, where = parts["what"], (parts["where"] or "").replace("[...]", "")
    if missing := re.fullmatch("Object missing required field `(.*)`", what):
        return f"{where}.{missing[1]} is missing" if where else f"{missing[1]} is missing"
    where = where or "the report"
    if wrong := re.fullmatch("Expected `(.*)`, got `(.*)`", what):
        return f"{where} is not {_NAMES.get(wrong[1], wrong[1])}"
    if long := re.fullmatch("Expected `(.*)` of length <= (.*)", what):
        unit = "characters" if long[1] == "str" else "entries"
        return f"{where} has more than {long[2]} {unit}"
    return f"{where}: {what[:1].lower()}{what[1:]}"
