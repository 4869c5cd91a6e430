"""The address file, such as ips.txt: read at the start, and again whenever it changes."""

from collections.abc import Callable, Iterable
from errno import EACCES
from pathlib import Path
from stat import S_ISCHR, S_ISFIFO
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from infernet_router.addresses import BadAddressList, DnsSource, NodeAddress, parse_address_list
from infernet_router.quoting import quoted
from infernet_router.sources.joining import BadSource, Sources

_EXAMPLE = "copy ips.txt.example to ips.txt and put your nodes in it, one address a line"

_CHECK_INTERVAL = 0.5
"""Seconds between two checks of the file. A change is read at the second check that sees it."""

_MAX_FILE = 8 * 1024 * 1024
"""The largest file that is read, in bytes. A hundred thousand nodes need 3 MiB, and the router
answers nobody while it reads."""

log = Logger()


class NoFile(BadSource):
    """There is no file at this path."""


def read_address_file(path: Path) -> tuple[NodeAddress | DnsSource, ...]:
    """
    The addresses and DNS names in an address file.

    :raises NoFile: when there is no such file.
    :raises BadSource: when the file cannot be read, holds no address, or has bad lines; the message
        then lists every bad line.
    """
    try:
        status = path.stat()
        if S_ISFIFO(status.st_mode) or S_ISCHR(status.st_mode):  # reading might never end
            raise BadSource(f"{path} is a pipe or a device, not a file of addresses")
        if status.st_size > _MAX_FILE:
            raise BadSource(f"{path} is larger than {_MAX_FILE // 2**20} MiB")
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise NoFile(f"there is no {path}: {_EXAMPLE}") from None
    except IsADirectoryError:
        raise BadSource(
            f"{path} is a directory, not a file of addresses. If docker made it in place of a"
            f" missing file to mount, remove it and {_EXAMPLE}"
        ) from None
    except OSError as error:
        advice = "; make it readable" if error.errno == EACCES else ""
        raise BadSource(f"cannot read {path}: {error.strerror}{advice}") from None
    try:
        entries = parse_address_list(text)
    except BadAddressList as error:
        raise BadSource(
            "\n".join(
                f"{path}, line {line.number}: {quoted(line.text)}: {line.reason}"
                for line in error.lines
            )
        ) from None
    if not entries:
        raise BadSource(f"{path} holds no address: {_EXAMPLE}")
    return entries


class AddressFile(Service):
    """
    Keeps the addresses of an address file up to date.

    The file is read when this is created. A later change is read once two checks in a row see the
    same file, so that a file is not read while it is being written. While the file is bad or
    missing, its last addresses stay.

    :param watch_dns: called with the DNS names in the file.
    :param may_be_missing: whether the file may be created later.
    :raises BadSource: when the file is bad, or is missing and must not be.
    """

    def __init__(
        self,
        path: Path,
        sources: Sources,
        watch_dns: Callable[[Iterable[DnsSource]], None],
        clock: IReactorTime,
        *,
        may_be_missing: bool = False,
    ) -> None:
        self._path = path.absolute()  # twistd may change the working directory later
        self._sources = sources
        self._watch_dns = watch_dns
        self._loop = LoopingCall(self._check)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)
        self._entries: tuple[NodeAddress | DnsSource, ...] = ()
        self._seen = self._read = _stamp(self._path)
        try:
            self._entries = read_address_file(path)
        except NoFile:
            if not may_be_missing:
                raise

    def startService(self) -> None:
        super().startService()
        self._announce()
        self._stopped = self._loop.start(_CHECK_INTERVAL)

    def stopService(self) -> Deferred[Any]:
        """Stop checking the file."""
        super().stopService()
        self._loop.stop()
        return self._stopped

    def read_again(self) -> None:
        """Read the file now, even if it seems unchanged."""
        self._read = _stamp(self._path)
        try:
            self._entries = read_address_file(self._path)
        except BadSource as error:
            self._sources.failed(self._path, str(error))
        else:
            self._announce()

    def _check(self) -> None:
        """Read the file if it has changed and is no longer being written."""
        try:
            stamp = _stamp(self._path)
            settled, self._seen = stamp == self._seen, stamp
            if settled and stamp != self._read:
                self.read_again()
        except Exception:  # the loop must go on
            log.failure("checking {path} failed", path=self._path)

    def _announce(self) -> None:
        """Pass on the addresses and DNS names in the file."""
        names = [entry for entry in self._entries if isinstance(entry, DnsSource)]
        addresses = [entry for entry in self._entries if isinstance(entry, NodeAddress)]
        self._sources.named(self._path, addresses)
        self._watch_dns(names)


def _stamp(path: Path) -> object:
    """A value that changes when the file at a path is written, replaced or made readable."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
