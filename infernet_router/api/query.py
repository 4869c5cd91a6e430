"""Parses the query string of a request and checks each parameter that a route reads."""

from urllib.parse import unquote_to_bytes

from infernet_router.addresses import BadAddress, NodeAddress, parse_address
from infernet_router.quoting import quoted

_MAX_PARAMETERS = 100
"""A query with more parameters is refused."""


class BadRequest(Exception):
    """The query of a request is invalid; the message says why."""


class Query:
    """
    The parameters of a query string. Those that a route does not read are ignored.

    Twisted's own parser splits parameters at `;` too, which a container id may contain.

    :param uri: the request target: path and query.
    :raises BadRequest: when there are too many parameters.
    """

    def __init__(self, uri: bytes) -> None:
        query = uri.partition(b"?")[2]
        if query.count(b"&") >= _MAX_PARAMETERS:
            raise BadRequest(f"the query has more than {_MAX_PARAMETERS} parameters")
        is_plain = b"%" not in query and b"+" not in query
        self._parameters: dict[bytes, list[bytes]] = {}
        for parameter in query.split(b"&"):
            name, _, value = parameter.partition(b"=")
            if not is_plain:
                name, value = _unquoted(name), _unquoted(value)
            self._parameters.setdefault(name, []).append(value)

    @property
    def names(self) -> set[str]:
        """The names of all parameters."""
        return {name.decode("utf-8", "replace") for name in self._parameters if name}

    def texts(self, name: str) -> list[str]:
        """
        The values of all parameters with this name, in their order.

        :raises BadRequest: when a value is not UTF-8.
        """
        try:
            return [value.decode() for value in self._parameters.get(name.encode(), ())]
        except UnicodeDecodeError:
            raise BadRequest(f"{name} is not UTF-8") from None

    def text(self, name: str, *, longest: int) -> str | None:
        """
        The value of an optional parameter; None when it is not given.

        :param longest: the most characters it may have.
        :raises BadRequest: when it is empty, too long, not UTF-8 or given more than once.
        """
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

    def addresses(self, name: str, *, most: int) -> list[NodeAddress]:
        """
        The values of all parameters with this name, which are addresses of nodes.

        :param most: how often the parameter may be given.
        :raises BadRequest: when there are more, or one of them is not an address.
        """
        texts = self.texts(name)
        if len(texts) > most:
            raise BadRequest(f"{name} is given {len(texts)} times; the limit is {most}")
        addresses = []
        for text in texts:
            try:
                addresses.append(parse_address(text))
            except BadAddress as error:
                raise BadRequest(f"{name}={quoted(text)} is not an address: {error}") from None
        return addresses

    def whole_number(self, name: str, *, default: int, most: int, least: int = 0) -> int:
        """
        The value of an optional parameter that is a whole number from `least` to `most`.

        :param default: its value when it is not given.
        :raises BadRequest: when it is anything else, or given more than once.
        """
        texts = self.texts(name)
        if not texts:
            return default
        text = texts[0].lstrip("0") or texts[0][:1]
        if len(texts) == 1 and len(text) <= len(str(most)) and text.isascii() and text.isdigit():
            number = int(text)
            if least <= number <= most:
                return number
        raise BadRequest(f"{name} must be one whole number from {least} to {most}")


def _unquoted(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
