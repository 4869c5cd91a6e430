"""The demo as a program: its options, and how signals end it."""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner

from infernet_router.demo.demo import PORT
from infernet_router.demo.show import Show
from infernet_router.quoting import quoted

_DESCRIPTION = """
Two equal fleets of simulated nodes get the same jobs at the same time: one behind this router, one
behind the rule of the public router, least pending at the last poll. Nodes are killed, stall and
return. A terminal gets pictures, and keys do things; anything else gets lines.
"""


def run(arguments: list[str]) -> None:
    """Run the demo with these command line arguments."""
    parser = argparse.ArgumentParser(prog="infernet_router.demo", description=_DESCRIPTION)
    parser.add_argument(
        "--once",
        action="store_true",
        help="end by itself, in half a minute; exit with 1 if a job failed or least pending won",
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"port of the router [default: {PORT}, or a free one if that is taken]; 0 for free "
        "ports of everything",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the jobs [default: 1]")
    options = parser.parse_args(arguments)
    draws = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    with TemporaryDirectory() as folder:

        def make(reactor: Any) -> Show:
            return Show(reactor, Path(folder), options, draws=draws)

        react(partial(_run, make))


def _run(make: Callable[[Any], Show], reactor: Any) -> Deferred[None]:
    show = make(reactor)

    async def show_all() -> None:
        await deferLater(reactor, 0)  # from then on, the reactor handles signals
        if code := await show.run():
            raise SystemExit(code)

    showing = Deferred.fromCoroutine(show_all())

    def wind_up() -> Deferred[None]:
        """End the demo when a signal stops the reactor, which waits for that."""
        ended: Deferred[None] = Deferred()

        def tell(result: object) -> object:
            ended.callback(None)
            return result

        show.quit()
        showing.addBoth(tell)
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", wind_up)
    return showing


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number up to 65535, not {quoted(text)}")
