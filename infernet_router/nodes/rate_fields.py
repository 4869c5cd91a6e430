"""Parses the header fields that tell a server's rate limit: Retry-After and the RateLimit ones."""

import re
from collections.abc import Callable, Iterator
from time import time

from attrs import frozen
from twisted.web.http import stringToDatetime
from twisted.web.http_headers import Headers

_LONGEST = 86400.0
"""Seconds; longer times are cut to this."""

_MAX_TEXT = 1000
"""The most bytes of a header that are read; one policy takes about 30."""

_STAMP = 1e9
"""A higher reset is a time since 1970 instead of seconds from now, as in many X-RateLimit-Reset."""

_MILLISECONDS = 1e11
"""A higher reset is in milliseconds: in seconds, it would be in the year 5138."""

_RETRY_AFTER = b"retry-after"
_STRUCTURED = b"ratelimit"
_PAIRS = tuple(
    (prefix + b"remaining", prefix + b"reset") for prefix in (b"ratelimit-", b"x-ratelimit-")
)
_NAMES = (_RETRY_AFTER, _STRUCTURED, *(reset for _, reset in _PAIRS))
_NUMBER = re.compile(rb"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:;.*)?")
_QUOTED = re.compile(rb'"[^"]*"?')
_PARAMETER = re.compile(rb"(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*(\d{1,15})(?![\d.])")


@frozen
class RateLimit:
    """What a response says about the rate limit; None for what it does not say."""

    retry_after: float | None = None
    """Seconds until the next request is welcome."""
    pace: float | None = None
    """Seconds between requests at which the remaining ones last until the limit is reset."""


NO_LIMIT = RateLimit()


def rate_limit(headers: Headers, seconds: Callable[[], float] = time) -> RateLimit:
    """
    Parse the rate limit in the headers of a response.

    Retry-After (RFC 9110, 10.2.3) is a number of seconds or a date; of several, the longest is used
    (nodes send it twice). RateLimit is read in the forms of draft-ietf-httpapi-ratelimit-headers-08
    (`"default";r=50;t=30`) and -07 (`remaining=50, reset=30`), and in the separate fields
    RateLimit-Remaining and -Reset of earlier drafts, also with X-. Malformed values are ignored. Of
    several limits, the strictest is used.

    :param seconds: the seconds since 1970; used for a date if the response has no Date.
    """
    if not any(map(headers.hasHeader, _NAMES)):
        return NO_LIMIT
    since_1970 = _date(_text(headers, b"date")) or seconds()
    paces = [
        _until(reset, since_1970) / max(1.0, remaining) for remaining, reset in _limits(headers)
    ]
    return RateLimit(_retry_after(headers, since_1970), max(paces, default=None))


def _until(reset: float, since_1970: float) -> float:
    """The seconds until a limit is reset."""
    if reset > _MILLISECONDS:
        reset /= 1000
    return max(0.0, min(reset - since_1970 if reset > _STAMP else reset, _LONGEST))


def _retry_after(headers: Headers, since_1970: float) -> float | None:
    """The longest time in Retry-After, in seconds."""
    times = _numbers(_text(headers, _RETRY_AFTER))
    for line in headers.getRawHeaders(_RETRY_AFTER, ()):
        if (date := _date(line)) is not None:
            times.append(max(0.0, date - since_1970))
    return min(max(times), _LONGEST) if times else None


def _limits(headers: Headers) -> Iterator[tuple[float, float]]:
    """For each limit, how many requests remain, and the seconds until it is reset."""
    for names in _PAIRS:
        remaining, reset = (_numbers(_text(headers, name)) for name in names)
        if remaining and reset:
            yield min(remaining), max(reset)
    text = _QUOTED.sub(b"", _text(headers, _STRUCTURED))
    pairs = dict(_PARAMETER.findall(text))
    if b"remaining" in pairs and b"reset" in pairs:
        yield float(pairs[b"remaining"]), float(pairs[b"reset"])
    for item in text.split(b","):
        pairs = dict(_PARAMETER.findall(item))
        if b"r" in pairs and b"t" in pairs:
            yield float(pairs[b"r"]), float(pairs[b"t"])


def _text(headers: Headers, name: bytes) -> bytes:
    """The lines of a header, joined as RFC 9110, 5.3 has it."""
    return b",".join(headers.getRawHeaders(name, ()))[:_MAX_TEXT]


def _numbers(text: bytes) -> list[float]:
    """The numbers in a list."""
    found = map(_NUMBER.fullmatch, text.split(b","))
    return [float(number[1]) for number in found if number is not None]


def _date(text: bytes) -> float | None:
    """An HTTP date in seconds since 1970; None if it is malformed."""
    try:
        return float(stringToDatetime(text[:_MAX_TEXT]))
    except Exception:  # the parser may raise anything
        return None
