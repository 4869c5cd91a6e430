"""Reads an address list line by line, and names the lines that are bad."""

import re
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from infernet_router.addresses import (
    BadAddress,
    DnsSource,
    NodeAddress,
    hide_credentials,
    parse_entry,
)

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*", re.DOTALL)
_MAX_LINE = 2000
"""The most characters of an address in a list."""
_NAMED = 20
"""How many bad lines of a list are named; the others are counted."""


@frozen
class BadLine:
    """One line of an address list that is not an address."""

    number: int
    """The line's number, from 1."""
    text: str
    """The line, without any password."""
    reason: str


class BadAddressList(ValueError):
    """
    An address list with bad lines.

    :param lines: the first ones.
    :param more: how many bad lines there are in addition.
    """

    def __init__(self, lines: tuple[BadLine, ...], more: int) -> None:
        count = len(lines) + more
        super().__init__(f"{count} bad line{'s' if count > 1 else ''}")
        self.lines = lines
        self.more = more


class AddressList:
    """
    An address list as it is read: one address or DNS source per line, without duplicates.

    Blank lines, blanks around an address, carriage returns, a byte order mark, and comments
    (from a `#` at the start of a line or after a blank) are ignored.
    """

    def __init__(self) -> None:
        self.addresses: dict[NodeAddress, None] = {}
        """In order, as are the names."""
        self.names: dict[DnsSource, None] = {}
        self._bad: list[BadLine] = []
        self._bad_count = 0

    def read(
        self, lines: Iterable[str], known: Mapping[str, NodeAddress] | None = None
    ) -> Iterator[None]:
        """
        Read these lines, one in each step.

        :param known: addresses that need not be parsed again, by their text.
        """
        known = known or {}
        for number, line in enumerate(lines, 1):
            yield
            text = _content(line.removeprefix("\ufeff") if number == 1 else line)
            if not text:
                continue
            if (address := known.get(text)) is not None:
                self.addresses.setdefault(address)
                continue
            try:
                if len(text) > _MAX_LINE:
                    raise BadAddress(f"it is longer than {_MAX_LINE} characters")
                entry = parse_entry(text)
                if isinstance(entry, DnsSource):
                    self.names.setdefault(entry)
                else:
                    self.addresses.setdefault(entry)
            except BadAddress as error:
                self._bad_count += 1
                if self._bad_count <= _NAMED:
                    self._bad.append(BadLine(number, hide_credentials(text), str(error)))

    def check(self) -> None:
        """
        Refuse what was read if there are bad lines.

        :raises BadAddressList: with the first bad lines.
        """
        if self._bad:
            raise BadAddressList(tuple(self._bad), self._bad_count - len(self._bad))


def _content(line: str) -> str:
    """A line without its comment and the blanks around; only the beginning if that is too long."""
    text = _COMMENT.sub("", line.strip()[: _MAX_LINE + 1])
    return text if len(text) > _MAX_LINE else text.rstrip()
