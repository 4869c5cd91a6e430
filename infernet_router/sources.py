"""Sources: where addresses come from, joined into the fleet, and followed while the router runs."""

import signal
from collections.abc import Awaitable, Callable, Hashable, Iterable
from errno import EACCES
from itertools import chain
from pathlib import Path
from stat import S_ISCHR, S_ISFIFO
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from infernet_router.addresses import BadAddressList, DnsName, NodeAddress, parse_address_list
from infernet_router.fleet import Fleet
from infernet_router.quoting import quoted

EXAMPLE = "copy ips.txt.example to ips.txt and put your nodes in it, one address a line"

_LOOK = 0.5
"""Seconds from one look at a file to the next; a change is taken at the second that sees it."""

_MAX_FILE = 8 * 1024 * 1024
"""The largest file that is read, in bytes: a hundred thousand nodes need 3 MiB, and nothing is
answered while it is read."""

_FIRST_RETRY = 1.0
"""Seconds until a source that failed is asked again; doubled each time it fails again."""

_LONGEST_RETRY = 60.0

log = Logger()


class BadSource(Exception):
    """A source gives no addresses; the message says where it fails, how, and what to do."""


class NoFile(BadSource):
    """There is no file at its path."""


class Sources:
    """
    Joins what sources name: the nodes of the fleet are the addresses that any of them names.

    A source is known by a value of its own, which the log shows. What is wrong with one is
    logged once, not each time that it is found.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._addresses: dict[Hashable, tuple[NodeAddress, ...]] = {}
        self._reasons: dict[Hashable, str] = {}
        """Of each source that fails: why, as it was last told."""
        self._flawed: set[Hashable] = set()

    def named(self, source: Hashable, addresses: Iterable[NodeAddress], flaw: str = "") -> None:
        """
        A source names these addresses, and no others any more.

        :param flaw: what else it said and is of no use, in words, if there is such.
        """
        if self._reasons.pop(source, None) is not None:
            log.info("{source} is good again", source=source)
        if flaw and source not in self._flawed:
            log.warn("{source}: {flaw}", source=source, flaw=flaw)
        (self._flawed.add if flaw else self._flawed.discard)(source)
        before, now = self._addresses.get(source, ()), tuple(dict.fromkeys(addresses))
        if set(map(str, before)) == set(map(str, now)):
            return
        self._addresses[source] = now
        self._replace()
        log.info(
            "{source}: {added} added, {removed} removed, {count} in all",
            source=source,
            added=len(set(now) - set(before)),
            removed=len(set(before) - set(now)),
            count=len(now),
        )

    def failed(self, source: Hashable, reason: str) -> None:
        """A source cannot say what it names now: what it named stays."""
        if self._reasons.get(source) != reason:
            self._reasons[source] = reason
            log.warn(
                "cannot renew the addresses of {source}, {count} stay: {reason}",
                source=source,
                count=len(self._addresses.get(source, ())),
                reason=reason,
            )

    def dropped(self, source: Hashable) -> None:
        """There is no such source any more."""
        self._reasons.pop(source, None)
        self._flawed.discard(source)
        if gone := self._addresses.pop(source, ()):
            self._replace()
            log.info("{source}: dropped, {count} removed", source=source, count=len(gone))

    def _replace(self) -> None:
        self._fleet.replace(dict.fromkeys(chain.from_iterable(self._addresses.values())))


def read_address_file(path: Path) -> tuple[NodeAddress | DnsName, ...]:
    """
    The addresses and DNS names in an address file such as ips.txt.

    :raises NoFile: when there is none.
    :raises BadSource: when the file cannot be read, holds no address, or has bad lines, of
        which the message then lists each.
    """
    try:
        status = path.stat()
        if S_ISFIFO(status.st_mode) or S_ISCHR(status.st_mode):  # the read might never end
            raise BadSource(f"{path} is a pipe or a device, not a file of addresses")
        if status.st_size > _MAX_FILE:
            raise BadSource(f"{path} is larger than {_MAX_FILE // 2**20} MiB")
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise NoFile(f"there is no {path}: {EXAMPLE}") from None
    except IsADirectoryError:
        raise BadSource(
            f"{path} is a directory, not a file of addresses. If docker made it, for a file to"
            f" mount that was not there, remove it and {EXAMPLE}"
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
        raise BadSource(f"{path} holds no address: {EXAMPLE}")
    return entries


class AddressFile(Service):
    """
    The source that is an address file: what it lists when this is made, and then each change.

    A change is taken once two looks saw the same, so that a file is not read while it is being
    written. While the file is bad or gone, what it listed stays.

    :param watch_names: told which DNS names the file lists.
    :param may_be_missing: whether it is fine that there is no file yet.
    :raises BadSource: when it is bad, or missing though it must not be.
    """

    def __init__(
        self,
        path: Path,
        sources: Sources,
        watch_names: Callable[[Iterable[DnsName]], None],
        clock: IReactorTime,
        may_be_missing: bool = False,
    ) -> None:
        self._path = path.absolute()  # twistd may go to another directory yet
        self._sources = sources
        self._watch_names = watch_names
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock
        self._stopped: Deferred[Any] = succeed(None)
        self._entries: tuple[NodeAddress | DnsName, ...] = ()
        self._seen = self._read = _stamp(self._path)
        try:
            self._entries = read_address_file(path)
        except NoFile:
            if not may_be_missing:
                raise

    def startService(self) -> None:
        super().startService()
        self._tell()
        self._stopped = self._loop.start(_LOOK)

    def stopService(self) -> Deferred[Any]:
        """Look no more."""
        super().stopService()
        self._loop.stop()
        return self._stopped

    def read_again(self) -> None:
        """Read the file, whether it seems to have changed or not."""
        self._read = _stamp(self._path)
        try:
            self._entries = read_address_file(self._path)
        except BadSource as error:
            self._sources.failed(self._path, str(error))
        else:
            self._tell()

    def _look(self) -> None:
        """Read the file when it has changed and rests. Whatever breaks, the next look comes."""
        try:
            stamp = _stamp(self._path)
            rests, self._seen = stamp == self._seen, stamp
            if rests and stamp != self._read:
                self.read_again()
        except Exception:
            log.failure("a look at {path} broke", path=self._path)

    def _tell(self) -> None:
        """Tell what the file lists."""
        names = [entry for entry in self._entries if isinstance(entry, DnsName)]
        addresses = [entry for entry in self._entries if isinstance(entry, NodeAddress)]
        self._sources.named(self._path, addresses)
        self._watch_names(names)


def _stamp(path: Path) -> object:
    """What differs once the file that a path leads to was written, replaced or made readable."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev


class HangupListener(Service):
    """
    Does something whenever the process is sent SIGHUP, as long as it runs.

    :param heard: what to do, in the reactor's thread.
    """

    def __init__(self, reactor: IReactorFromThreads, heard: Callable[[], object]) -> None:
        self._reactor = reactor
        self._heard = heard
        self._before: Any = signal.SIG_DFL

    def startService(self) -> None:
        super().startService()
        self._before = signal.signal(signal.SIGHUP, self._hear)

    def stopService(self) -> None:
        super().stopService()
        signal.signal(signal.SIGHUP, self._before or signal.SIG_DFL)

    def _hear(self, *_: object) -> None:
        self._reactor.callFromThread(self._heard)


@frozen
class Answer:
    """What a source that is asked names."""

    addresses: tuple[NodeAddress, ...]
    seconds: float
    """How long it is good for; then the source is to be asked again."""
    flaw: str = ""
    """What else it said and is of no use, in words."""


class AskedSource(Service):
    """
    Asks a source at once, and again whenever its answer is no longer good.

    While it fails, it is asked after a second, then two, four, … but at least once a minute.

    :param ask: gives its answer, or raises BadSource.
    """

    def __init__(
        self,
        source: Hashable,
        ask: Callable[[], Awaitable[Answer]],
        sources: Sources,
        clock: IReactorTime,
    ) -> None:
        self._source = source
        self._ask = ask
        self._sources = sources
        self._clock = clock
        self._asking: Deferred[Any] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._asking = Deferred.fromCoroutine(self._keep_asking())
        self._asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stopService(self) -> Deferred[Any]:
        """Ask no more; fires when a question in flight is cancelled."""
        super().stopService()
        self._asking.cancel()
        return self._asking

    async def _keep_asking(self) -> None:
        retry = _FIRST_RETRY
        while True:
            try:
                answer = await self._ask()
                if not self.running:
                    break
                self._sources.named(self._source, answer.addresses, answer.flaw)
            except Exception as error:
                if not self.running:
                    break
                if isinstance(error, BadSource):
                    self._sources.failed(self._source, str(error))
                else:
                    log.failure("asking {source} broke", source=self._source)
                wait, retry = retry, min(2 * retry, _LONGEST_RETRY)
            else:
                wait, retry = answer.seconds, _FIRST_RETRY
            await deferLater(self._clock, wait)
