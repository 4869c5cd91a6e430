"""The query of a request: its fields by name, each decoded and checked when it is asked for."""

from urllib.parse import unquote_to_bytes

_MAX_FIELDS = 100
"""The most fields of a query that are read."""


class BadRequest(Exception):
    """A request that cannot be answered; the message says why."""


class Query:
    """
    The fields of a query; those that nobody asks for count for nothing.

    Twisted's own reading of the query ends a field at `;`, which an id may have.

    :param uri: what was asked for, path and query.
    :raises BadRequest: here when there are too many fields, later when one is not as it should be.
    """

    def __init__(self, uri: bytes) -> None:
        query = uri.partition(b"?")[2]
        if query.count(b"&") >= _MAX_FIELDS:
            raise BadRequest(f"the query has more than {_MAX_FIELDS} fields")
        is_plain = b"%" not in query and b"+" not in query
        self._fields: dict[bytes, list[bytes]] = {}
        for field in query.split(b"&"):
            name, _, value = field.partition(b"=")
            if not is_plain:
                name, value = _unquoted(name), _unquoted(value)
            self._fields.setdefault(name, []).append(value)

    def texts(self, name: str) -> list[str]:
        """The values of every field with this name."""
        try:
            return [value.decode() for value in self._fields.get(name.encode(), ())]
        except UnicodeDecodeError:
            raise BadRequest(f"{name} is not UTF-8") from None

    def text(self, name: str, *, longest: int) -> str | None:
        """The value of the one field with this name, up to so many characters; None without it."""
        texts = self.texts(name)
        if not texts:
            return None
        if len(texts) > 1:
            raise BadRequest(f"{name} is given {len(texts)} times")
        if not texts[0]:
            raise BadRequest(f"{name} is empty")
        if len(texts[0]) > longest:
            raise BadRequest(f"{name} has more than {longest} characters")
        return texts[0]

    def whole_number(self, name: str, *, default: int, most: int) -> int:
        """The value of the one field with this name, from 0 to `most`; the default without it."""
        texts = self.texts(name)
        if not texts:
            return default
        text = texts[0].lstrip("0") or texts[0][:1]
        if len(texts) == 1 and len(text) <= len(str(most)) and text.isascii() and text.isdigit():
            number = int(text)
            if number <= most:
                return number
        raise BadRequest(f"{name} must be one whole number from 0 to {most}")


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
