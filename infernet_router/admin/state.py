"""
The state directory: keeps orders and the audit on disk.

`overrides.json` is replaced as a whole: another file is written and synchronized, and then takes
its name. So whatever happens, it has either all of the orders before a change or all of those after
it. `audit.jsonl` only grows; each line is written at once, and one that could not be written whole
is taken back.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from errno import EACCES
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import DeferredLock

from infernet_router.addresses import NodeAddress
from infernet_router.files import BadFile, NoSuchFile, OffLoop, TooSlow, in_time, read_file
from infernet_router.fleet import MAX_OVERRIDES, BadOrder, Order, decode_order, encode_order

_FORMAT = 1
_MAX_FILE = 64 * 1024 * 1024
"""The largest overrides.json that is read, in bytes: ten times what the router writes."""

_MAX_TAIL = 1024 * 1024
"""How much of the end of audit.jsonl is read at the start, in bytes."""

_numbers = count(1)


class BadState(Exception):
    """The directory cannot be used; the message says why."""


class CannotKeep(Exception):
    """Something could not be written; the message says why."""


_EncodedOrders = dict[NodeAddress, tuple[Order, bytes]]
"""By address: its order, and that as JSON."""


class _Encoded(msgspec.Struct, forbid_unknown_fields=True):
    """The content of overrides.json."""

    format: int
    orders: list[msgspec.Raw]


class State:
    """
    A state directory, which belongs to this process until it ends.

    :param off_loop: runs what may hang.
    :raises BadState: when it cannot be used.
    """

    def __init__(self, path: Path, off_loop: OffLoop[Any]) -> None:
        self.path = path.absolute()  # twistd may change the working directory later
        self._overrides = self.path / "overrides.json"
        self._audit = self.path / "audit.jsonl"
        self._off_loop = off_loop
        self._lock = DeferredLock()
        self._encoded: _EncodedOrders = {}
        """The orders that were written last, so that only new ones need to be encoded."""
        self._descriptor: int | None = None
        try:
            self._descriptor = in_time(partial(_claim, self.path))
            self.orders = in_time(partial(_read_orders, self._overrides))
            """The orders that were known when this was created."""
            self.lines = in_time(partial(_read_tail, self._audit))
            """The last lines of the audit at that time, oldest first."""
        except (BadFile, TooSlow) as error:
            self.close()
            raise BadState(str(error)) from None

    async def write(self, orders: Sequence[Order]) -> None:
        """
        Replace the orders.

        :raises CannotKeep: when that fails; those that were there before are there still.
        """
        abandoned: list[bool] = []
        call = partial(_replace, self._overrides, orders, self._encoded, abandoned)
        self._encoded = await self._run(call, abandoned)

    async def append(self, line: bytes) -> None:
        """
        Add a line to the audit.

        :raises CannotKeep: when that fails.
        """
        await self._run(partial(_append, self._audit, line), [])

    def check(self) -> None:
        """
        Check that the user of this process, which twistd may have changed, can write here.

        :raises BadState: when it cannot.
        """
        try:
            in_time(partial(_check, self.path, self._audit))
        except (OSError, TooSlow) as error:
            raise BadState(_unusable(self.path, error)) from None

    def close(self) -> None:
        """Let another process use the directory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    async def _run(self, call: Callable[[], Any], abandoned: list[bool]) -> Any:
        """Run a call in a thread, after those before it."""
        async with self._lock:
            try:
                return await self._off_loop.run(call)
            except TooSlow as error:
                abandoned.append(True)
                raise CannotKeep(f"cannot write to {self.path}: {error}") from None
            except OSError as error:
                why = error.strerror or str(error)
                raise CannotKeep(f"cannot write to {self.path}: {why}") from None


def _claim(path: Path) -> int:
    """
    Make a directory if it is missing, and lock it; returns its descriptor.

    :raises BadFile: when it cannot be used.
    """
    descriptor = None
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o750)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _check(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in path.glob(".overrides.json.*"):  # by a process that was killed
            with suppress(OSError):
                left.unlink()
    except OSError as error:
        if descriptor is not None:
            os.close(descriptor)
        raise BadFile(_unusable(path, error)) from None
    return descriptor


def _check(path: Path, *files: Path) -> None:
    """
    Check that this user may write to a directory, and to files in it that are there already.

    :raises OSError: when that is not so.
    """
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(EACCES, "the router's user may not write there")
    for file in files:
        if file.exists() and not os.access(file, os.W_OK, effective_ids=True):
            raise PermissionError(EACCES, f"the router's user may not write to {file.name}")


def _unusable(path: Path, error: OSError | TooSlow) -> str:
    """Why a directory cannot be used, in words."""
    if isinstance(error, BlockingIOError):
        return f"another router uses {path}: each needs a state directory of its own"
    why = error.strerror if isinstance(error, OSError) else error
    return f"cannot use {path} as the state directory: {why}"


def _read_orders(path: Path) -> list[Order]:
    """
    The orders in a file; none without a file.

    :raises BadFile: when it cannot be used.
    """
    try:
        content = read_file(path, _MAX_FILE)
    except NoSuchFile:
        return []
    try:
        found = msgspec.json.decode(content, type=_Encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(f"{path} is damaged, or of a newer release: {error}") from None
    if found.format != _FORMAT:
        raise BadFile(f"{path} is of a newer release: its format is {found.format}, not {_FORMAT}")
    orders = []
    for number, encoded in enumerate(found.orders, 1):
        try:
            orders.append(decode_order(encoded))
        except BadOrder as error:
            raise BadFile(
                f"{path}, order {number} is damaged, or of a newer release: {error}"
            ) from None
    if sum(order.ended is None for order in orders) > MAX_OVERRIDES:
        raise BadFile(f"{path} has more than {MAX_OVERRIDES:,} overrides")
    return orders


def _read_tail(path: Path) -> list[bytes]:
    """
    The last lines of a file; none without a file.

    :raises BadFile: when it cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _MAX_TAIL))
            lines = file.read(_MAX_TAIL).splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}") from None
    return lines[1:] if size > _MAX_TAIL else lines


def _replace(
    path: Path, orders: Iterable[Order], before: _EncodedOrders, abandoned: list[bool]
) -> _EncodedOrders:
    """
    Replace the orders in a file, unless nobody waits for that any more; returns them, encoded.

    :param before: those that were returned before.
    :raises OSError: when it cannot be written.
    """
    encoded: _EncodedOrders = {}
    for order in orders:
        last = before.get(order.address)
        is_same = last is not None and last[0] is order
        encoded[order.address] = last if last and is_same else (order, encode_order(order))
    content = b'{"format":%d,"orders":[\n' % _FORMAT
    content += b",\n".join([text for _, text in encoded.values()]) + b"\n]}\n"
    other = path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(other, flags, 0o640), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if abandoned:
                raise TimeoutError
            other.replace(path)
        except BaseException:
            with suppress(OSError):
                other.unlink()
            raise
        os.fsync(directory)
    finally:
        os.close(directory)
    return encoded


def _append(path: Path, line: bytes) -> None:
    """
    Add a line to a file, or nothing.

    :raises OSError: when it cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(path, flags, 0o640), "r+b", 0) as file:
        size = os.fstat(file.fileno()).st_size
        if size:
            file.seek(size - 1)
        is_cut = bool(size) and file.read(1) != b"\n"  # by a machine that lost power
        content = (b"\n" if is_cut else b"") + line + b"\n"
        try:
            if file.write(content) != len(content):
                raise OSError("the disk is full")
        except OSError:
            with suppress(OSError):
                file.truncate(size)
            raise
