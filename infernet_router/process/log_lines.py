"""Formats log events as lines: text for people, or JSON for programs."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from twisted.logger import (
    LogEvent,
    LogLevel,
    formatEvent,
    formatEventAsClassicLogText,
)

from infernet_router.process.logs import Format

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warn", "error")

_NUMBERS = {name: number for number, name in enumerate((*LEVELS, "critical"))}

_OTHER = "other"
"""The event of a line that has none, as those of Twisted."""

_TWISTED = frozenset(
    ("message", "isError", "system", "time", "format", "why", "failure", "logLevel", "printed")
)
"""Fields of the events of Twisted's old log, which repeat others."""

_MAX_NUMBER = 2**63


def line_format(form: str = "text", level: str = "info") -> Format:
    """
    A function that formats events as lines.

    :param form: one of FORMATS.
    :param level: one of LEVELS: events of lower ones are left out.
    """
    format_event: Format = json_line if form == "json" else formatEventAsClassicLogText
    least = _NUMBERS[level]

    def format_if_shown(event: LogEvent) -> str | None:
        return format_event(event) if _NUMBERS[_level(event)] >= least else None

    return format_if_shown


def json_line(event: LogEvent) -> str | None:
    """
    An event as one line of JSON; None for one without text.

    It has the time t, the level, the event, the sentence msg that the text format has too, and the
    fields of the event; and the traceback of an error in the router itself.
    """
    text, failure = formatEvent(event), event.get("log_failure")
    if not text and failure is None:
        return None
    level = _level(event)
    fields: dict[str, Any] = {
        "t": _instant(event["log_time"]),
        "level": "error" if level == "critical" else level,
        "event": event.get("event", _OTHER),
        "msg": _plain(text),
    }
    for name, value in event.items():
        if name not in fields and name not in _TWISTED and not name.startswith("log_"):
            fields[name] = _plain(value)
    if failure is not None:
        fields["traceback"] = _plain(failure.getTraceback())
    return msgspec.json.encode(fields).decode() + "\n"


def _level(event: LogEvent) -> str:
    level = event.get("log_level", LogLevel.info)
    return str(getattr(level, "name", "info"))


def _instant(seconds: float) -> str:
    """A time in seconds since the epoch as in RFC 3339, in UTC."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _plain(value: object) -> object:
    """A value as JSON can have it."""
    match value:
        case None | bool() | float():
            return value
        case int() if abs(value) < _MAX_NUMBER:
            return value
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            try:
                text = str(value)
            except Exception:  # anything may be logged
                text = f"a {type(value).__name__}"
            return text.encode("utf-8", "backslashreplace").decode()
