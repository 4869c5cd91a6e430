"""Programs the tests run: each a process of its own, ended with its test."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

TWISTD = str(Path(sys.executable).with_name("twistd"))
ROOT = Path(__file__).parents[2]
TROUBLE = re.compile(r"Traceback|Unhandled|Error|CRITICAL|critical|failure", re.ASCII)
"""What no log of a healthy router has."""
_PATIENCE = 60.0
"""Seconds after which what has not happened is taken not to happen: long, for busy machines."""


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = _has_ipv6()
"""Whether this machine has ::1."""

Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str = "it") -> Value:
    """Wait until the condition holds, and give what it gives then."""
    end = time.monotonic() + _PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.02)
    return value


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without the router's own variables, and with these."""
    ours = {"PORT", "REFRESH_INTERVAL", "API_URL", "RATELIMIT_REQS_PER_MIN"}
    return {k: v for k, v in os.environ.items() if k not in ours} | variables


def limited_twistd(folder: Path, descriptors: int) -> str:
    """A twistd, in this folder, that may have so many descriptors."""
    script = folder.absolute() / "twistd"
    script.write_text(f'#!/bin/sh\nulimit -n {descriptors}\nexec "{TWISTD}" "$@"\n')
    script.chmod(0o755)
    return str(script)


class Program:
    """
    A running process. Its output goes to a file.

    :param folder: where it runs, and its output is kept.
    :param files: descriptors it inherits.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
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
        test.addCleanup(self.kill)

    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for its end, and give its exit code."""
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Node(Program):
    """
    A simulated node.

    :param interface: where it listens; if on all, it is a node at every address of 127.0.0.0/8.
    :param knobs: attributes of it that are not as usual.
    """

    def __init__(
        self,
        test: SynchronousTestCase,
        folder: Path,
        *containers: str,
        interface: str = "127.0.0.1",
        port: int = 0,
        knobs: Mapping[str, object] | None = None,
    ) -> None:
        node = str(Path(__file__).with_name("node.py"))
        super().__init__(
            test,
            folder,
            sys.executable,
            node,
            interface,
            str(port),
            json.dumps(knobs or {}),
            *containers,
            variables={"PYTHONPATH": str(ROOT)},
        )
        self.port = int(until(lambda: self.output().endswith("\n") and self.output(), "node"))
        self.address = f"127.0.0.1:{self.port}"


class HostileNodes(Program):
    """
    The nodes of hostile_nodes.py; their certificates are of `authority.pem` in their folder.

    :param copies: how many there are of each.
    """

    def __init__(self, test: SynchronousTestCase, folder: Path, copies: int = 1) -> None:
        nodes = str(Path(__file__).with_name("hostile_nodes.py"))
        super().__init__(
            test,
            folder,
            *(sys.executable, nodes, str(copies)),
            variables={"PYTHONPATH": str(ROOT)},
        )
        until(lambda: "\n" in self.output(), "listening")
        self.addresses: dict[str, str] = json.loads(self.output().partition("\n")[0])
        """By name."""

    @property
    def flaps(self) -> int:
        """How often the one that flaps has answered."""
        return self.output().count("\n") - 1


class Router(Program):
    """A router started by twistd, on a port of its own unless the flags say where."""

    def __init__(
        self,
        test: SynchronousTestCase,
        folder: Path,
        *flags: str,
        twistd: str = TWISTD,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        if not any(flag.startswith(("--port", "--listen")) for flag in flags):
            flags = (*flags, "--listen", "tcp:0:interface=127.0.0.1")
        super().__init__(
            test,
            folder,
            *(twistd, "-n", "--pidfile=", "infernet-router", *flags),
            variables=variables,
        )

    @property
    def port(self) -> int:
        """The TCP port it listens on, once it does."""
        line = until(lambda: self.output().partition("starting on ")[2], "listening")
        return int(line.split()[0])

    def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """The status and decoded body of its answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if body else dict(response.headers)
        finally:
            connection.close()

    def memory(self) -> dict[str, int]:
        """Its memory now, VmRSS, and the most it ever had, VmHWM, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return {name: int(size) * 1024 for name, size in re.findall(r"(Vm\w+):\s+(\d+) kB", status)}

    def descriptors(self) -> int:
        """How many files and connections it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def pick(self, *containers: str) -> str | None:
        """The address it hands out, or None when there is none."""
        status, body = self.get("/api/v1/ip?" + "&".join(f"container={c}" for c in containers))
        return str(body["ip"]) if status == 200 else None
