"""Reads the text of an option's value; a ValueError says what it must be."""

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infernet_router.addresses import BadAddress, NodeAddress, parse_address
from infernet_router.replicas.redis_url import BadRedisUrl, RedisUrl, parse_redis_url


class Withheld(ValueError):
    """A bad value that no message may repeat, as it may hold a secret."""


def whole_number(most: int) -> Callable[[str], int]:
    """A reader of whole numbers from 1 to `most`."""

    def read(text: str) -> int:
        digits = text.lstrip("0")  # Python refuses to read thousands of them
        if digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= most:
            return int(digits)
        raise ValueError(f"must be a whole number from 1 to {most}")

    return read


def number(low: float, high: float, what: str) -> Callable[[str], float]:
    """A reader of numbers from `low` to `high`; `what` says what they are, such as "a share"."""

    def read(text: str) -> float:
        try:
            if text.isascii() and "_" not in text and low <= float(text) <= high:
                return float(text)
        except ValueError:
            pass
        raise ValueError(f"must be {what} from {low:g} to {high:g}")

    return read


def one_of(words: Collection[str]) -> Callable[[str], str]:
    """A reader that takes one of these words."""

    def read(text: str) -> str:
        if text in words:
            return text
        raise ValueError(f"must be one of {', '.join(words)}")

    return read


def yes_or_no(text: str) -> bool:
    """Whether an option without a value is given, as its environment variable says."""
    words = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
    if text.lower() in words:
        return words[text.lower()]
    raise ValueError("must be yes or no")


seconds = number(0.1, 86400, "a number of seconds")
"""The reader of a number of seconds."""


def path(text: str) -> Path:
    """The path of a file, which need not exist."""
    if text and "\0" not in text:
        return Path(text)
    raise ValueError("must be the path of a file")


def endpoint(text: str) -> str | None:
    """The description of a Twisted endpoint; None for `none`."""
    if text and text.isprintable():
        return None if text == "none" else text
    raise ValueError("must be a Twisted endpoint such as tcp:4001:interface=127.0.0.1, or none")


def url(text: str) -> NodeAddress:
    """An http:// or https:// URL."""
    try:
        return parse_address(text)
    except BadAddress as error:
        raise ValueError(f"must be an http:// or https:// URL ({error})") from None


def name_server(text: str) -> tuple[str, int]:
    """The IP address and port of a name server; the port is 53 unless given."""
    try:
        parts = urlsplit(f"//{text}")
        port = 53 if parts.port is None else parts.port
        if parts.netloc == text and "@" not in text and port:
            return str(ip_address(parts.hostname or "")), port
    except ValueError:
        pass
    raise ValueError("must be the IP address of a name server, or that and a port")


def named_weight(shape: str, least: float, names: Collection[str] = ()) -> Callable[[str], Any]:
    """A reader of `NAME=WEIGHT`, whose name must be one of `names` if there are any."""
    read_number = number(least, 1000, f"{shape}, where WEIGHT is a number")

    def read(text: str) -> tuple[str, float]:
        name, _, given = text.rpartition("=")
        if not name or (names and name not in names):
            raise ValueError(f"must be {shape}")
        return name, read_number(given)

    return read


def redis(text: str) -> RedisUrl:
    """The URL of a Redis server."""
    try:
        return parse_redis_url(text)
    except BadRedisUrl as error:
        raise Withheld(str(error)) from None


def prefix(text: str) -> str:
    """What the names in Redis begin with."""
    if re.fullmatch(r"[\w.:-]{1,100}", text, re.ASCII):
        return text
    raise ValueError("must have 1 to 100 letters, digits and . _ - :")
