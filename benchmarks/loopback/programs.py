"""Programs, such as the router, that benchmarks and tests run in processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

TWISTD = str(Path(sys.executable).with_name("twistd"))
FOREGROUND = ("--nodaemon", "--pidfile=", "infernet-router")
"""The arguments of twistd that start a router in the foreground; its options follow."""
_PATIENCE = 60.0
"""Seconds that a program has to end: long, for busy machines."""


def environment(**variables: str) -> dict[str, str]:
    """The environment of this process without what would change a program, and with these."""
    router = {"PORT", "REFRESH_INTERVAL", "API_URL", "RATELIMIT_REQS_PER_MIN"}
    # Workers of `trial -j` have all of sys.path in PYTHONPATH.
    without = {"PYTHONPATH", *router}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in without and not name.startswith("INFERNET_ROUTER_")
    }
    return kept | variables


def limited_twistd(folder: Path, descriptors: int) -> str:
    """A twistd, in this folder, whose process may have this many descriptors open."""
    script = folder.absolute() / "twistd"
    script.write_text(f'#!/bin/sh\nulimit -n {descriptors}\nexec "{TWISTD}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def listening_ports(log: str) -> list[int]:
    """The TCP ports on which a router listens, by its log, in the order of its endpoints."""
    return [int(port) for port in re.findall(r"listening on \S+:(\d+)\n", log)]


class Program:
    """
    A running program, whose output goes to a file. At the end of its `with` block it is killed.

    :param folder: its working directory, which also holds its output.
    :param variables: environment variables it has in addition.
    :param files: descriptors it inherits.
    """

    def __init__(
        self,
        folder: Path,
        *command: str,
        variables: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        self._log = folder / f"{Path(command[0]).name}-{time.monotonic_ns()}.out"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(**variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=files,
            )
        self.id = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """
        Wait for its end; gives its exit code.

        :raises subprocess.TimeoutExpired: when it goes on.
        """
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self.process.kill()
        self.process.wait()


class Router(Program):
    """
    A router, started by twistd. It listens on a free port of 127.0.0.1 unless the flags say where,
    and has no endpoint for operators unless they name one.

    :param twistd: the twistd that runs it.
    """

    def __init__(
        self,
        folder: Path,
        *flags: str,
        twistd: str = TWISTD,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        if not any(flag.startswith(("--port", "--listen")) for flag in flags):
            flags = (*flags, "--listen", "tcp:0:interface=127.0.0.1")
        if not any(flag == "--admin" or flag.startswith("--admin=") for flag in flags):
            flags = (*flags, "--admin", "none")
        super().__init__(folder, twistd, *FOREGROUND, *flags, variables=variables)

    @property
    def port(self) -> int | None:
        """The TCP port it listens on, or None before it listens."""
        return next(iter(listening_ports(self.output())), None)
