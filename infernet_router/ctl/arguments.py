"""Arguments: parses the command line of infernet-router-ctl, and finds the token to send."""

import argparse
from collections.abc import Callable, Mapping, Sequence

from infernet_router import __version__

DEFAULT_URL = "http://127.0.0.1:4001"
URL = "INFERNET_ROUTER_URL"
TOKEN = "INFERNET_ROUTER_ADMIN_TOKEN"

_MAX_TOKEN_FILE = 4096

Parser = argparse.ArgumentParser


class BadArguments(Exception):
    """The arguments cannot be used; the message says why."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """
    Parse the command line, of this process by default.

    :raises SystemExit: with code 2 when it is wrong, and with 0 when it asks for help.
    """
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--url", help=f"where the router is; {URL}, or {DEFAULT_URL}")
    common.add_argument(
        "--token-file", metavar="FILE", help=f"file that holds one token, in place of {TOKEN}"
    )
    common.add_argument("--json", action="store_true", help="print what the router answers")
    top = Parser(
        prog="infernet-router-ctl",
        description="Reads and steers a running Infernet Router.",
        epilog="Exit code: 0 done, 1 refused, 2 wrong arguments, 3 the router cannot be reached.",
        parents=[common],
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"infernet-router {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (words, add) in _COMMANDS.items():
        help = words[0].lower() + words[1:-1]
        add(
            commands.add_parser(
                name, help=help, description=words, parents=[common], allow_abbrev=False
            )
        )
    given = top.parse_args(arguments)
    for name, default in (("url", None), ("token_file", None), ("json", False)):
        setattr(given, name, getattr(given, name, default))
    return given


def _nodes(parser: Parser) -> None:
    parser.add_argument("--state", help="up, suspect, down, unknown or drained")
    parser.add_argument("--container", action="append", help="that runs this; repeatable")
    parser.add_argument("--search", metavar="TEXT", help="in address, reason or containers")
    parser.add_argument("--sort", metavar="FIELD", help="such as jobs; address by default")
    parser.add_argument("--desc", action="store_true", help="the greatest first")
    parser.add_argument("--limit", type=_count, help="how many at most")


def _address(parser: Parser) -> None:
    parser.add_argument("address", metavar="ADDRESS")


def _explain(parser: Parser) -> None:
    parser.add_argument("containers", metavar="CONTAINER", nargs="+")
    parser.add_argument("--model", metavar="ID", help="that supports this model")
    parser.add_argument("--exclude", metavar="ADDRESS", action="append", help="repeatable")
    parser.add_argument("--node", metavar="ADDRESS", help="say of this one why, or why not")
    parser.add_argument("--limit", type=_count, help="how many at most")


def _decisions(parser: Parser) -> None:
    parser.add_argument("--container", help="for this container")
    parser.add_argument("--node", metavar="ADDRESS", help="that chose this node")
    parser.add_argument("--limit", type=_count, help="50 by default")


def _decision(parser: Parser) -> None:
    parser.add_argument("id", metavar="ID", help="as in the header Infernet-Decision")


def _drain(parser: Parser) -> None:
    _address(parser)
    _order(parser)
    parser.add_argument("--wait", action="store_true", help="until it has finished its jobs")
    parser.add_argument(
        "--timeout", type=_count, default=300, metavar="SECONDS", help="of --wait; 300 by default"
    )
    parser.add_argument("--force", action="store_true", help="the last node of a container, too")


def _weigh(parser: Parser) -> None:
    _address(parser)
    parser.add_argument("weight", metavar="WEIGHT", type=_weight, help="0.1 to 10, or none")
    _order(parser)


def _order(parser: Parser) -> None:
    parser.add_argument("--for", dest="duration", metavar="2h", help="how long: s, m, h or d")
    parser.add_argument("--reason", help="why, for others")


def _audit(parser: Parser) -> None:
    parser.add_argument("--limit", type=_count, help="50 by default")


_COMMANDS: Mapping[str, tuple[str, Callable[[Parser], None]]] = {
    "nodes": ("List nodes.", _nodes),
    "node": ("Show one node.", _address),
    "explain": ("Say which node would get a job, and why.", _explain),
    "decisions": ("List which nodes were chosen for the last jobs, the last first.", _decisions),
    "decision": ("Show one decision: why that node was chosen.", _decision),
    "drain": ("Give a node no job any more.", _drain),
    "undrain": ("Give a node jobs again.", _address),
    "weight": ("Change how many jobs a node gets.", _weigh),
    "overrides": ("List the orders of operators.", lambda parser: None),
    "audit": ("List who changed what, and who was refused, the last first.", _audit),
}
"""By name, what a command does, and what adds its arguments."""


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 10**6:
        return int(text)
    raise argparse.ArgumentTypeError("must be a whole number above 0")


def _weight(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a number from 0.1 to 10, or none") from None


def find_token(path: str | None, environ: Mapping[str, str]) -> str | None:
    """
    The token to send, of a file or the environment; None for no token.

    :raises BadArguments: when there is no token where one should be.
    """
    if path is None:
        token, where = environ.get(TOKEN, "").strip(), TOKEN
        if not token:
            return None
    else:
        where = path
        try:
            with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib takes time
                token = file.read(_MAX_TOKEN_FILE).strip()
        except OSError as error:
            raise BadArguments(f"cannot read {path}: {error.strerror}") from None
        except ValueError:
            token = ""
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise BadArguments(f"{where} must hold one token and nothing else")
    return token
