"""Lingering: waits before the router stops, unless a second signal says not to."""

import signal
from typing import Any

from twisted.internet.defer import Deferred

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def linger(reactor: Any, seconds: float) -> None:
    """
    Delay the stop for so long, or until the process gets another signal to stop.

    Twisted takes a second signal for a bug, and logs a traceback.
    """
    over: Deferred[None] = Deferred()
    timer = reactor.callLater(seconds, over.callback, None)

    def end() -> None:
        if timer.active():
            timer.cancel()
            over.callback(None)

    before = [
        (number, signal.signal(number, lambda *_: reactor.callFromThread(end)))
        for number in _SIGNALS
    ]
    try:
        await over
    finally:
        for number, handler in before:
            signal.signal(number, handler or signal.SIG_DFL)
