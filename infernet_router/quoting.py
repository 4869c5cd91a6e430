"""Text from outside, made safe to show: one line, printable, not too long."""

_LONGEST = 200


def quoted(text: str) -> str:
    """`text` in quotes, with escapes for what does not print, cut after 200 characters."""
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")
