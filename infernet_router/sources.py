"""Sources of addresses."""

from errno import EACCES
from pathlib import Path

from infernet_router.addresses import BadAddressList, NodeAddress, parse_address_list
from infernet_router.quoting import quoted

EXAMPLE = "copy ips.txt.example to ips.txt and put your nodes in it, one address a line"


class BadSource(Exception):
    """A source gives no addresses; the message says where it fails, how, and what to do."""


def read_address_file(path: Path) -> tuple[NodeAddress, ...]:
    """
    The addresses in an address file such as ips.txt.

    :raises BadSource: when the file cannot be read, holds no address, or has bad lines, of
        which the message then lists each.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise BadSource(f"there is no {path}: {EXAMPLE}") from None
    except IsADirectoryError:
        raise BadSource(
            f"{path} is a directory, not a file of addresses. If docker made it, for a file to"
            f" mount that was not there, remove it and {EXAMPLE}"
        ) from None
    except OSError as error:
        advice = "; make it readable" if error.errno == EACCES else ""
        raise BadSource(f"cannot read {path}: {error.strerror}{advice}") from None
    try:
        addresses = parse_address_list(text)
    except BadAddressList as error:
        raise BadSource(
            "\n".join(
                f"{path}, line {line.number}: {quoted(line.text)}: {line.reason}"
                for line in error.lines
            )
        ) from None
    if not addresses:
        raise BadSource(f"{path} holds no address: {EXAMPLE}")
    return addresses
