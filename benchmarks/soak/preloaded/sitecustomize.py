"""
Loaded by Python at its start, when this folder is in PYTHONPATH.

SIGUSR2 sets the clock. The names in the file SOAK_HOSTS, if there is one, lead where it says.
"""

import os
import signal
import socket
import time
from itertools import cycle
from pathlib import Path
from typing import Any

_STEPS = cycle((-86_400.0, 3600.0, -30.0, 5.0))
"""By how many seconds the clock is set: back, as by NTP, and on, as when a machine is resumed."""

_time, _set = time.time, [0.0]
_getaddrinfo, _hosts = socket.getaddrinfo, Path(os.environ.get("SOAK_HOSTS", os.devnull))


def _step(*_: object) -> None:
    _set[0] += next(_STEPS)


def _look_up(host: Any, *args: Any, **options: Any) -> Any:
    """Look up a name, in the file first."""
    for line in _hosts.read_text().splitlines():
        address, _, name = line.partition(" ")
        if name == host:
            host = address
    return _getaddrinfo(host, *args, **options)


socket.getaddrinfo = _look_up
time.time = lambda: _time() + _set[0]
signal.signal(signal.SIGUSR2, _step)
