"""Ordering: reads the override that the body of a request asks for."""

import json
import re
from typing import Any

import msgspec
from attrs import frozen

from infernet_router.addresses import LEAST_WEIGHT, MOST_WEIGHT
from infernet_router.api.query import BadRequest
from infernet_router.fleet import MAX_REASON
from infernet_router.quoting import quoted

_DURATION = re.compile(r"0*([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_SECONDS = 366 * 86400


@frozen(kw_only=True)
class Wanted:
    """An override as an operator asks for it."""

    drain: bool
    weight: float | None
    reason: str
    seconds: int | None
    """How long it is in force; None for no end."""
    force: bool
    """Whether to drain the last node of a container, too."""


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request, as JSON."""

    drain: bool = False
    weight: float | None = None
    reason: str = ""
    duration: str | None = msgspec.field(default=None, name="for")
    force: bool = False


def parse_wanted(content: bytes) -> Wanted:
    """
    Read the body of a request.

    :raises BadRequest: when it is not an override; the message says what is wrong and where.
    """
    if not content.strip():
        raise BadRequest('the body is missing: it is JSON such as {"drain": true, "for": "2h"}')
    try:
        body = msgspec.json.decode(content, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not an override: {error}") from None
    _refuse_duplicates(content)
    weight = body.weight
    if weight is not None and not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise BadRequest(
            f"weight must be a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, not {weight:g}"
        )
    if not body.drain and weight is None:
        raise BadRequest("neither drain nor weight is given: DELETE ends an override")
    if len(body.reason) > MAX_REASON or not body.reason.isprintable():
        raise BadRequest(f"reason must be at most {MAX_REASON} characters that print")
    return Wanted(
        drain=body.drain,
        weight=weight,
        reason=body.reason,
        seconds=None if body.duration is None else _seconds(body.duration),
        force=body.force,
    )


def _seconds(text: str) -> int:
    """
    The seconds in a duration such as 2h.

    :raises BadRequest: when it is malformed, or too long.
    """
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _MOST_SECONDS:
        raise BadRequest(
            f"for must be a whole number and s, m, h or d, 366d at most, not {quoted(text)}"
        )
    return seconds


def _refuse_duplicates(content: bytes) -> None:
    """
    Refuse an object that has a key twice, of which programs use different ones.

    :raises BadRequest: when it does.
    """

    def check(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise BadRequest(f"the body has {quoted(name)} twice")

    json.loads(content, object_pairs_hook=check)
