"""This machine and its processes: what they are, and what they use."""

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
"""Seconds after which what has not happened is taken not to happen."""


class CannotMeasure(SystemExit):
    """Something is missing, or did not happen; the message says what."""


def leave_first_processor() -> None:
    """
    Let this process and what it starts run on all processors but the first.

    :raises CannotMeasure: when there is just one, or wrk is not installed.
    """
    if len(PROCESSORS) < 2:
        raise CannotMeasure("there must be two processors: one for the router, one for clients")
    if shutil.which("wrk") is None:
        raise CannotMeasure("wrk is missing: apt-get install wrk")
    os.sched_setaffinity(0, PROCESSORS[1:])


def machine() -> str:
    """What it is that was measured, and on what."""
    parts = [f"{name} {version(name)}" for name in ("infernet-router", "twisted", "klein", "treq")]
    python = f"Python {platform.python_version()}"
    return ", ".join([*parts, python, f"{platform.system()} {platform.machine()}", _processor()])


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} × {found[1] if found else 'processor'}"


def memory(process: int, name: str) -> int:
    """A figure of a process's memory in /proc, such as VmRSS or VmHWM, in bytes."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def descriptors(process: int) -> int:
    """Descriptors that a process has open."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def processor_seconds(process: int) -> float:
    """Seconds of a processor's time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port on which nobody listens."""
    with create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def until(condition: Callable[[], object], what: str) -> None:
    """
    Wait until the condition holds.

    :raises CannotMeasure: when it does not for long.
    """
    end = monotonic() + _PATIENCE
    while not condition():
        if monotonic() > end:
            raise CannotMeasure(f"there was no {what}")
        sleep(0.01)
