"""
Tells systemd when the router is ready, how it is, and that it is alive.

The protocol is that of sd_notify(3): datagrams of NAME=VALUE lines to the unix socket that
NOTIFY_SOCKET names, where a leading @ stands for an abstract socket. With WatchdogSec=, systemd
restarts a service that does not send WATCHDOG=1 for WATCHDOG_USEC microseconds, and
sd_watchdog_enabled(3) advises to send it twice as often.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

_TICK = 1.0
"""Seconds from one look at the router to the next, at most."""


class Systemd(Service):
    """
    Sends the state of the router to systemd while it runs.

    :param notify: sends a datagram to systemd.
    :param is_ready: whether the router listens and the first polls are back.
    :param is_alive: whether polls go out; the watchdog is fed only while they do.
    :param status: the state of the router in one line, shown by `systemctl status`.
    :param watchdog: seconds without WATCHDOG=1 after which systemd restarts the router; None if it
        does not.
    """

    def __init__(
        self,
        clock: IReactorTime,
        notify: Callable[[bytes], None],
        *,
        is_ready: Callable[[], bool],
        is_alive: Callable[[], bool],
        status: Callable[[], str],
        watchdog: float | None = None,
    ) -> None:
        self._notify = notify
        self._is_ready = is_ready
        self._is_alive = is_alive
        self._status = status
        self._watchdog = watchdog
        self._was_ready = False
        self._shown = ""
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def startService(self) -> None:
        super().startService()
        self._loop.start(_TICK if self._watchdog is None else min(_TICK, self._watchdog / 2))

    def stopService(self) -> None:
        super().stopService()
        self._loop.stop()
        self._notify(b"STOPPING=1")

    def _tick(self) -> None:
        lines = []
        if not self._was_ready and self._is_ready():
            self._was_ready = True
            lines.append("READY=1")
        status = self._status()
        if status != self._shown:
            self._shown = status
            lines.append(f"STATUS={status}")
        if self._watchdog is not None and self._is_alive():
            lines.append("WATCHDOG=1")
        if lines:
            self._notify("\n".join(lines).encode())


def notifier(environ: Mapping[str, str] = os.environ) -> Callable[[bytes], None] | None:
    """What sends datagrams to systemd; None when systemd did not start this or wants none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return None
    if address.startswith("@"):
        address = "\0" + address[1:]
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    sender.setblocking(False)

    def notify(message: bytes) -> None:
        """Send a datagram, unless systemd is too busy to take it."""
        with suppress(OSError):  # the next datagram says what matters again
            sender.sendto(message, address)

    return notify


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which systemd wants a sign of life from this process; None if it does not."""
    micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (micros.isascii() and micros.isdigit() and len(micros) < 20 and int(micros)):
        return None
    return None if pid not in ("", str(os.getpid())) else int(micros) / 1e6
