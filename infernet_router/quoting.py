"""Quoting: how text from outside, and hosts with ports, are shown."""

import re

_LONGEST = 200
_BYTE = re.compile(r"(\\\\)|\\udc(?=[89a-f])")
"""In a repr: an escaped backslash, or the start of a byte that surrogateescape decoded."""


def quoted(text: str) -> str:
    """
    `text` in quotes, with escapes for what does not print, cut after 200 characters.

    A byte that is not UTF-8, which Python decodes to a surrogate, is shown as \\xff.
    """
    shown = repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
    return _BYTE.sub(lambda found: found[1] or r"\x", shown)


def host_port(host: str, port: int) -> str:
    """A host and a port, as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
