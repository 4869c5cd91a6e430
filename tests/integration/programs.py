"""Programs that the tests run in processes of their own; each is killed after its test."""

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback import programs
from benchmarks.loopback.machine import descriptors, memory
from benchmarks.loopback.programs import TWISTD, listening_ports

ROOT = Path(__file__).parents[2]
TROUBLE = re.compile(r"Traceback|Unhandled|Error|CRITICAL|critical|failure", re.ASCII)
"""What the log of a healthy router never contains."""
_PATIENCE = 60.0
"""Seconds to wait for a condition: long, for busy machines."""


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
    """Wait until a condition is true; returns its value."""
    end = time.monotonic() + _PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen")
        time.sleep(0.02)
    return value


class Program(programs.Program):
    """A running program that is killed after its test."""

    def __init__(
        self,
        test: SynchronousTestCase,
        folder: Path,
        *command: str,
        variables: Mapping[str, str] | None = None,
        files: Sequence[int] = (),
    ) -> None:
        super().__init__(folder, *command, variables=variables, files=files)
        test.addCleanup(self.kill)


class Node(Program):
    """
    A simulated node.

    :param interface: where it listens; with "", it is a node at every address of 127.0.0.0/8.
    :param knobs: attributes to set on it.
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
    The nodes of hostile_nodes.py. Their certificate authority is authority.pem in their folder.

    :param copies: the number of nodes of each kind.
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
        """The address of each node, by name."""

    @property
    def flaps(self) -> int:
        """How often the flapping node has responded."""
        return self.output().count("\n") - 1


class Router(programs.Router):
    """A router that is killed after its test."""

    def __init__(
        self,
        test: SynchronousTestCase,
        folder: Path,
        *flags: str,
        twistd: str = TWISTD,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, *flags, twistd=twistd, variables=variables)
        test.addCleanup(self.kill)

    @property
    def port(self) -> int:
        """Wait until it listens; returns its TCP port."""
        return until(lambda: listening_ports(self.output()), "listening")[0]

    def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        """The status and the decoded body of its response."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
            return response.status, json.loads(body) if body else dict(response.headers)
        finally:
            connection.close()

    def memory(self) -> dict[str, int]:
        """Its memory now (VmRSS) and at its peak (VmHWM), in bytes."""
        return {name: memory(self.id, name) for name in ("VmRSS", "VmHWM")}

    def descriptors(self) -> int:
        """How many descriptors it has open."""
        return descriptors(self.id)

    def pick(self, *containers: str) -> str | None:
        """The address it hands out, or None if no node can do the job."""
        status, body = self.get("/api/v1/ip?" + "&".join(f"container={c}" for c in containers))
        return str(body["ip"]) if status == 200 else None
