"""Text from outside, made safe to show: one line, printable, not too long."""

import re

_LONGEST = 200
_BYTE = re.compile(r"(\\\\)|\\udc(?=[89a-f])")
"""In a repr, a backslash, or the start of a byte that surrogateescape passed on."""


def quoted(text: str) -> str:
    """
    `text` in quotes, with escapes for what does not print, cut after 200 characters.

    A byte that is not UTF-8, which Python passes on as a surrogate, is shown as \\xff.
    """
    shown = repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
    return _BYTE.sub(lambda found: found[1] or r"\x", shown)
