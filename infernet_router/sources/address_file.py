"""The address file, such as ips.txt: read at the start, and again whenever it changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from errno import ENOENT
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from infernet_router.addresses import DnsSource, NodeAddress
from infernet_router.files import (
    BadFile,
    IsDirectory,
    NoSuchFile,
    OffLoop,
    TooSlow,
    in_time,
)
from infernet_router.process import Slices
from infernet_router.quoting import quoted
from infernet_router.sources.address_list import AddressList, BadAddressList
from infernet_router.sources.joining import BadSource, Sources
from infernet_router.sources.reading import Drafts, Reading, read_draft, read_now, stamp_of

_EXAMPLE = """write the addresses of your nodes into it, one a line, such as
    10.0.0.1:4000
    10.0.0.2:4000"""

_CHECK_INTERVAL = 0.5
"""Seconds between two checks of the file. A change is read at the second check that sees it."""

log = Logger()


class NoFile(BadSource):
    """There is no file at this path."""


class AddressFile(Service):
    """
    Keeps the addresses of an address file up to date.

    The file is read when this is created. A later change is read once two checks in a row see the
    same file, so that a file is not read while it is being written. A file that keeps changing is
    read as a draft. While the file is bad or missing, its last addresses stay.

    :param watch_dns: called with the DNS names in the file.
    :param off_loop: runs what may hang.
    :param may_be_missing: whether the file may be created later.
    :param waits: whether to wait for a good file, too, while it is missing, empty or bad.
    :raises BadSource: when the file is bad, or is missing and must not be; never if this waits.
    """

    def __init__(
        self,
        path: Path,
        sources: Sources,
        watch_dns: Callable[[Iterable[DnsSource]], None],
        clock: IReactorTime,
        slices: Slices,
        off_loop: OffLoop[Any],
        *,
        may_be_missing: bool = False,
        waits: bool = False,
    ) -> None:
        self._path = path.absolute()  # twistd may change the working directory later
        self._sources = sources
        self._watch_dns = watch_dns
        self._clock = clock
        self._slices = slices
        self._off_loop = off_loop
        self._following: Deferred[Any] = succeed(None)
        self._pausing: tuple[IDelayedCall, Deferred[None]] | None = None
        self._is_told = False
        """Whether to read the file even if it seems unchanged."""
        self._drafts = Drafts()
        self._list = AddressList()
        """What the file was found to hold last."""
        self._seen: object = None
        """The file as of the last check."""
        self._read: object = None
        """The file as it was read; None to read it again in any case."""
        self._fault: BadSource | None = None
        """Why there are no addresses at the start, although there should be."""
        try:
            self._list = self._first_list(path, may_be_missing=may_be_missing)
        except BadSource as error:
            if not waits:
                raise
            self._fault = error

    def _first_list(self, path: Path, *, may_be_missing: bool) -> AddressList:
        """
        What is in the file at the start.

        :raises BadSource: when the file is bad, or is missing and must not be.
        """
        found = AddressList()
        try:
            reading = in_time(partial(read_now, path))
            self._seen = reading.stamp
            self._read = reading.stamp if reading.is_quiet else None
            for _ in _parsing(path, reading.content, found):
                pass
        except NoSuchFile as error:
            self._seen = self._read = ENOENT
            if not may_be_missing:
                raise NoFile(_reason(self._path, error)) from None
        except (BadFile, TooSlow) as error:
            raise BadSource(_reason(path, error)) from None
        return found

    def startService(self) -> None:
        super().startService()
        self._following = Deferred.fromCoroutine(self._follow())

    def stopService(self) -> Deferred[Any]:
        """Stop checking the file."""
        super().stopService()
        self._following.cancel()
        return self._following

    def read_again(self) -> None:
        """Read the file now, even if it seems unchanged."""
        self._is_told = True
        if self._pausing is not None:
            call, paused = self._pausing
            call.cancel()
            paused.callback(None)

    async def _follow(self) -> None:
        """Pass on what is in the file, and check it from time to time."""
        check = self._begin
        while self.running:
            try:
                await check()
            except BadSource as error:
                self._sources.failed(self._path, str(error))
            except Exception:
                if self.running:
                    log.failure("checking {path} failed", event="internal.error", path=self._path)
            check = self._check
            if self.running and not self._is_told:
                await self._pause()

    async def _begin(self) -> None:
        """
        Pass on what was in the file at the start.

        :raises BadSource: when that was bad.
        """
        if self._fault is not None:
            raise self._fault
        await self._announce()

    async def _pause(self) -> None:
        """Wait until the next check is due, or read_again is called, or this is stopped."""
        paused: Deferred[None] = Deferred()
        self._pausing = self._clock.callLater(_CHECK_INTERVAL, paused.callback, None), paused
        try:
            await paused
        except CancelledError:
            self._pausing[0].cancel()
        finally:
            self._pausing = None

    async def _check(self) -> None:
        """
        Read the file if it has changed and is no longer being written, or for too long.

        :raises BadSource: when that fails.
        """
        is_told, self._is_told = self._is_told, False
        try:
            stamp = await self._run(stamp_of)
            has_settled, self._seen = stamp == self._seen, stamp
            if is_told:
                await self._take(await self._run(read_now))
            elif stamp == self._read:
                self._drafts.forget()
            elif has_settled:
                reading = await self._run(read_now)
                if reading.is_quiet:
                    await self._take(reading)
            elif self._drafts.changed():
                await self._take_draft(await self._run(read_draft))
        except (BadFile, TooSlow) as error:
            self._read = None  # it is read when that has ended, even if it looks unchanged then
            raise BadSource(_reason(self._path, error)) from None

    def _run(self, call: Callable[[Path], Any]) -> Deferred[Any]:
        return self._off_loop.run(partial(call, self._path))

    async def _take(self, reading: Reading) -> None:
        """Replace the addresses by those in the file."""
        self._drafts.forget()
        self._read = reading.stamp if reading.is_quiet else None
        self._list = await self._parse(reading.content)
        await self._announce()

    async def _take_draft(self, reading: Reading) -> None:
        """Add the addresses in a draft; forget others only if it is known to be complete."""
        found = self._drafts.add(reading.content, is_quiet=reading.is_quiet)
        if found is None:
            return
        now = self._list if found.whole is None else await self._parse(found.whole)
        try:
            more = await self._parse(found.lines)
        except BadSource:  # that may be for its being unfinished
            more = AddressList()
        joined = AddressList()
        await self._slices.take(_joining(now, more, joined))
        self._list = joined
        await self._announce()

    async def _parse(self, content: bytes) -> AddressList:
        """
        What is in a file with this content.

        :raises BadSource: when it holds no address, or has bad lines.
        """
        known: dict[str, NodeAddress] = {}
        await self._slices.take(_knowing(self._list, known))
        read = AddressList()
        await self._slices.take(_parsing(self._path, content, read, known))
        return read

    async def _announce(self) -> None:
        """Pass on the addresses and DNS names in the file."""
        await self._sources.named(self._path, self._list.addresses)
        self._watch_dns(self._list.names)


def _parsing(
    path: Path, content: bytes, into: AddressList, known: Mapping[str, NodeAddress] | None = None
) -> Iterator[None]:
    """
    Parse the content of an address file in steps.

    :raises BadSource: when it holds no address, or has bad lines; the message then lists the first
        bad lines.
    """
    _check_text(path, content)
    yield from into.read((_decoded(line) for line in BytesIO(content)), known)
    try:
        into.check()
    except BadAddressList as error:
        reasons = [
            f"{path}, line {line.number}: {quoted(line.text)}: {line.reason}"
            for line in error.lines
        ]
        if error.more:
            reasons.append(f"{path} has {error.more} more bad lines")
        raise BadSource("\n".join(reasons)) from None
    if not into.addresses and not into.names:
        raise BadSource(f"{path} holds no address: {_EXAMPLE}")


def _check_text(path: Path, content: bytes) -> None:
    """
    Refuse a file in which no line would make sense.

    :raises BadSource: when it is in UTF-16, or its lines end as on old Macs.
    """
    beginning = content[:1000]
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")) or beginning.count(0) > len(beginning) / 4:
        raise BadSource(f"{path} is in UTF-16 or UTF-32: save it as UTF-8")
    if b"\n" not in content and b"\r" in content.strip():
        raise BadSource(
            f"{path} has lines that end with a carriage return (CR): end them with a line feed (LF)"
        )


def _decoded(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape")


def _knowing(list: AddressList, known: dict[str, NodeAddress]) -> Iterator[None]:
    """Collect the addresses of a list by their lines, in steps; those with a weight are few."""
    for address in list.addresses:
        if address.weight is None:
            known[address.text] = address
        yield


def _joining(first: AddressList, second: AddressList, into: AddressList) -> Iterator[None]:
    """Join two lists in steps."""
    for list in (first, second):
        into.names.update(list.names)
        for address in list.addresses:
            into.addresses.setdefault(address)
            yield


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, and what to do about it."""
    match error:
        case NoSuchFile():
            return f"there is no {path}: {_EXAMPLE}"
        case IsDirectory():
            return (
                f"{error} of addresses. If docker made it in place of a missing file to mount,"
                f" remove it, create a file, and {_EXAMPLE}"
            )
        case TooSlow():
            return f"cannot read {path}: {error}"
        case _:
            return str(error)
