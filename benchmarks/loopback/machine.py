"""Reads what this machine is, and what its processes use, from Linux's /proc."""

import os
import platform
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from socket import create_server
from time import monotonic, sleep

PROCESSORS = sorted(os.sched_getaffinity(0))

_PATIENCE = 120.0
"""Seconds to wait for a condition."""


class CannotMeasure(SystemExit):
    """The benchmark cannot run; the message says why."""


def leave_first_processor() -> None:
    """
    Leave the first processor to the server; this process and its children use the others.

    :raises CannotMeasure: when there is only one processor, or wrk is not installed.
    """
    if len(PROCESSORS) < 2:
        raise CannotMeasure("two processors are needed: one for the router, one for the clients")
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk is not installed: apt-get install wrk")
    os.sched_setaffinity(0, PROCESSORS[1:])


def machine() -> str:
    """The versions of what was measured, and the machine."""
    parts = [f"{name} {version(name)}" for name in ("infernet-router", "twisted", "klein", "treq")]
    python = f"Python {platform.python_version()}"
    return ", ".join([*parts, python, f"{platform.system()} {platform.machine()}", _processor()])


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {found[1] if found else 'processor'}"


def memory(process: int, name: str) -> int:
    """A figure of a process's memory, such as VmRSS or VmHWM, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def descriptors(process: int) -> int:
    """The number of open descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def processor_seconds(process: int) -> float:
    """The CPU time of a process, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port on which nothing listens."""
    with create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def until(condition: Callable[[], object], what: str) -> None:
    """
    Wait until the condition holds.

    :raises CannotMeasure: when it still does not after two minutes.
    """
    end = monotonic() + _PATIENCE
    while not condition():
        if monotonic() > end:
            raise CannotMeasure(f"timed out waiting for {what}")
        sleep(0.01)
