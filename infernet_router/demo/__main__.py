"""Runs the demo in a terminal; where there is none that can be drawn on, prints lines."""

import argparse
import os
import sys
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


def main(arguments: list[str]) -> None:
    """Run the demo until `q` or Ctrl-C, or for some seconds with --once."""
    parser = argparse.ArgumentParser(prog="infernet_router.demo", description=__doc__)
    parser.add_argument(
        "--once",
        action="store_true",
        help="end by itself, in half a minute; exit with 1 if a job failed or least pending won",
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"port of the router [default: {PORT}, or a free one if that is taken]",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the jobs [default: 1]")
    options = parser.parse_args(arguments)
    draws = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    with TemporaryDirectory() as folder:
        react(partial(_run, Path(folder), options, draws))


def _run(folder: Path, options: argparse.Namespace, draws: bool, reactor: Any) -> Deferred[None]:
    show = Show(reactor, folder, options, draws=draws)

    async def run() -> None:
        await deferLater(reactor, 0)  # from then on, the reactor handles signals
        if code := await show.run():
            raise SystemExit(code)

    running = Deferred.fromCoroutine(run())

    def wind_up() -> Deferred[None]:
        """End the demo when a signal stops the reactor, which waits for that."""
        ended: Deferred[None] = Deferred()

        def tell(result: object) -> object:
            ended.callback(None)
            return result

        show.quit()
        running.addBoth(tell)
        return ended

    reactor.addSystemEventTrigger("before", "shutdown", wind_up)
    return running


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number up to 65535, not {quoted(text)}")


if __name__ == "__main__":
    main(sys.argv[1:])
