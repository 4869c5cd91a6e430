"""Batches: what a replica tells the others in one message, and how that is written and checked."""

from math import isfinite
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from infernet_router.fleet import Outcome
from infernet_router.replicas.shares import KEY_SIZE
from infernet_router.reports import Container

MAX_BYTES = 1 << 20
"""The largest message that is read, in bytes."""

SPLIT_BYTES = MAX_BYTES // 2
"""The largest batch that is sent, in bytes; a larger one is split."""

MAX_DESCRIPTION = 8 << 10
"""The largest description of a node that is shared, in bytes."""

LIGHTEST, HEAVIEST = 0.01, 1000.0
"""The limits of what one job may weigh."""

MAX_JOBS = 1_000_000
"""The most jobs for one node in a batch."""

_MAX_PENDING = 1_000_000
_MAX_AGE = 60_000

Text: TypeAlias = Annotated[str, Meta(max_length=1000)]
Id: TypeAlias = Annotated[str, Meta(max_length=100)]
Short: TypeAlias = Annotated[str, Meta(max_length=256)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Member: TypeAlias = Annotated[bytes, Meta(min_length=8, max_length=8)]
Age: TypeAlias = Annotated[int, Meta(ge=0, le=_MAX_AGE)]


class BadBatch(ValueError):
    """A message that is not a valid batch; the message says what is wrong with it."""


class _Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A part of a batch. Nodes are given as their keys, one after the other."""


class Jobs(_Part, frozen=True):
    """Jobs that the sender assigned since its last batch."""

    keys: bytes
    counts: list[Annotated[int, Meta(ge=1, le=MAX_JOBS)]]
    """How many jobs each node got."""
    weights: list[Annotated[float, Meta(ge=LIGHTEST, le=HEAVIEST)]]
    """What each of them weighs on average; empty if all weigh 1."""


class Reports(_Part, frozen=True):
    """Reports of nodes with the same description."""

    containers: Annotated[list[Container], Meta(max_length=1000)]
    version: Short
    kinds: Annotated[list[Short], Meta(max_length=16)]
    """The kinds of pending jobs."""
    keys: bytes
    ages: list[Age]
    """By node, how old its report is, in milliseconds."""
    pending: list[Annotated[int, Meta(ge=0, le=_MAX_PENDING)]]
    """By node and then by kind, the pending jobs."""


class Misses(_Part, frozen=True):
    """Polls that failed for the same reason."""

    reason: Text
    keys: bytes
    ages: list[Age]
    """By node, how long ago that was, in milliseconds."""


class Outcomes(_Part, frozen=True):
    """Jobs with the same outcome, as clients told the sender."""

    outcome: Outcome
    keys: bytes


class Passed(_Part, frozen=True):
    """An outcome that a client told the sender, though another member made the decision."""

    member: Member
    """Who made the decision."""
    decision: Id
    outcome: Outcome
    client: Annotated[bytes, Meta(max_length=16)]
    """What stands for the client."""


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The beginning of a batch, which can be read by itself."""

    sender: Member
    number: Number
    """One more than that of the sender's last batch."""
    sent: float
    """When it was sent, on the sender's monotonic clock, in seconds."""


class Batch(Head, frozen=True):
    """What one replica tells the others in one message."""

    orders_digest: Number = 0
    """A digest of the operators' orders that the sender knows; 0 without any."""
    bye: bool = False
    """Whether the sender stops."""
    jobs: Jobs = Jobs(b"", [], [])
    reports: list[Reports] = []
    misses: list[Misses] = []
    unshared: bytes = b""
    """Nodes that every member has to poll, as their description is too large."""
    outcomes: list[Outcomes] = []
    passed: list[Passed] = []


Some = TypeVar("Some", Head, Batch)

_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(Head)
_batches = msgspec.msgpack.Decoder(Batch)


def encode(batch: Batch) -> bytes:
    """A batch as a message."""
    return _encoder.encode(batch)


def size_of(containers: tuple[Container, ...]) -> int:
    """The bytes that the description of a node takes in a batch."""
    return len(_encoder.encode(containers))


def decode_head(message: bytes) -> Head:
    """
    Read the head of a batch: all that is needed of one's own, or of one that comes too late.

    :raises BadBatch: when that is not possible.
    """
    if len(message) > MAX_BYTES:
        raise BadBatch(f"it has more than {MAX_BYTES >> 20} MiB")
    head = _decode(_heads, message)
    if not isfinite(head.sent):
        raise BadBatch("the time is not a finite number")
    return head


def decode(message: bytes) -> Batch:
    """
    Read a batch whose head was read before.

    :raises BadBatch: when it is not valid.
    """
    batch = _decode(_batches, message)
    jobs = batch.jobs
    _check(jobs.keys, len(jobs.counts), "jobs")
    if jobs.weights and len(jobs.weights) != len(jobs.counts):
        raise BadBatch("the number of weights does not match that of nodes")
    for reports in batch.reports:
        _check(reports.keys, len(reports.ages), "reports")
        if len(reports.pending) != len(reports.ages) * len(reports.kinds):
            raise BadBatch("the number of pending jobs does not match that of nodes")
    for misses in batch.misses:
        _check(misses.keys, len(misses.ages), "misses")
    for outcomes in batch.outcomes:
        _check(outcomes.keys, len(outcomes.keys) // KEY_SIZE, "outcomes")
    _check(batch.unshared, len(batch.unshared) // KEY_SIZE, "unshared nodes")
    return batch


def each_key(keys: bytes) -> list[bytes]:
    """The keys of nodes, one by one."""
    return [keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)]


def _decode(decoder: "msgspec.msgpack.Decoder[Some]", message: bytes) -> Some:
    try:
        return decoder.decode(message)
    except UnicodeDecodeError:
        raise BadBatch("a text is not UTF-8") from None
    except msgspec.DecodeError as error:
        raise BadBatch(str(error)) from None
    except RecursionError:
        raise BadBatch("it is nested too deeply") from None


def _check(keys: bytes, count: int, what: str) -> None:
    """Check that so many nodes have keys."""
    if len(keys) != count * KEY_SIZE:
        raise BadBatch(f"the keys of the {what} do not match their number")
