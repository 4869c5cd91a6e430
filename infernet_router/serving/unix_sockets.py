"""Unix sockets: who may connect to them, and which were left behind by a dead process."""

import contextlib
import re
import socket
from grp import getgrgid
from pathlib import Path
from pwd import getpwuid
from stat import S_IMODE, S_ISSOCK, S_IWGRP, S_IWOTH, S_IWUSR

from infernet_router.quoting import quoted

_DESCRIPTION = re.compile(r"((?:haproxy:)?unix:)((?:\\.|[^\\:])*)(.*)", re.DOTALL)
"""The description of a Twisted endpoint that is a Unix socket: kind, path, and arguments."""

_MODE = re.compile(r":(?:mode=|(?!backlog=|lockfile=))([^:]*)")
"""An argument that sets the mode, which may come without its name."""


class Occupied(Exception):
    """A path at which no socket can be made; the message says why."""


def with_mode(endpoint: str) -> str:
    """
    The description of an endpoint, with mode 660 if it is a Unix socket without a mode.

    :raises ValueError: when the mode is bad.
    """
    found = _DESCRIPTION.fullmatch(endpoint)
    if found is None:
        return endpoint
    mode = _MODE.search(found[3])
    if mode is None:
        return f"{endpoint}:mode=660"
    if not re.fullmatch("[0-7]{1,4}", mode[1], re.ASCII):
        raise ValueError(f"the mode must be an octal number such as 660, not {quoted(mode[1])}")
    return endpoint


def remove_stale(endpoint: str) -> None:
    """
    Remove the socket of a dead process, if this is the description of a Unix socket.

    :raises Occupied: when a process listens there, or there is something else.
    :raises OSError: when that cannot be found out.
    """
    path = _path_of(endpoint)
    if path is None:
        return
    try:
        if not S_ISSOCK(path.stat().st_mode):
            raise Occupied(f"{path} is there, and is not a socket")
        if _is_used(path):
            raise Occupied("another process listens there")
        path.unlink()
    except FileNotFoundError:
        pass
    # Twisted's lock names a process, but another may have its number by now.
    _remove_lock(path)


def remove_lock(endpoint: str) -> None:
    """Remove the lock that Twisted leaves when it could not listen on a Unix socket."""
    path = _path_of(endpoint)
    if path is not None:
        with contextlib.suppress(OSError):
            _remove_lock(path)


def _path_of(endpoint: str) -> Path | None:
    """The path of a Unix socket, if this is the description of one."""
    found = _DESCRIPTION.fullmatch(endpoint)
    if found is None:
        return None
    name = found[2].removeprefix("address=")
    return Path(name.replace("\\:", ":").replace("\\\\", "\\"))


def _remove_lock(path: Path) -> None:
    lock = path.with_name(f"{path.name}.lock")
    if lock.is_symlink():
        lock.unlink()


def _is_used(path: Path) -> bool:
    """Whether a process listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
        except BlockingIOError:  # too many clients wait
            return True
    return True


def who_can_connect(path: Path) -> str:
    """Those who may connect to a Unix socket by its mode, in words; empty if that is unknown."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ""
    mode = S_IMODE(status.st_mode)
    owner, group = str(status.st_uid), str(status.st_gid)
    with contextlib.suppress(KeyError):  # as for most users of containers
        owner = getpwuid(status.st_uid).pw_name
    with contextlib.suppress(KeyError):
        group = getgrgid(status.st_gid).gr_name
    who = [
        words
        for bit, words in (
            (S_IWUSR, f"owner {owner}"),
            (S_IWGRP, f"group {group}"),
            (S_IWOTH, "all others"),
        )
        if mode & bit
    ]
    match who:
        case [_, _, _]:
            return "everyone can connect"
        case []:
            return "only root can connect"
        case [*some]:
            return f"{' and '.join(some)} can connect"
