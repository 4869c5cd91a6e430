"""The IP addresses of one host name, looked up again when their time to live is over."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from infernet_router.sources.dns_messages import AAAA, TYPES, A, Record
from infernet_router.sources.joining import BadSource
from infernet_router.sources.name_servers import Found, LookupFailed

SHORTEST, _LONGEST = 5, 300
"""The limits, in seconds, of the time between two lookups of a name, whatever the TTL is."""

_PARTIAL_ANSWERS = 10
"""How many incomplete answers in a row may leave out a record before it is taken to be gone. A name
server that shuffles its records has by then sent each of 5,000 at least once."""

_FAMILIES = {"": (A, AAAA), "4": (A,), "6": (AAAA,), "both": (A, AAAA)}
"""By the family of a DNS source, the record types to ask for."""

Ask = Callable[[str, int], Awaitable[Found]]
"""Asks for the records that a name has of one type, as NameServers.ask does."""

Key = TypeVar("Key")


class NoAddresses(BadSource):
    """
    A lookup gave no addresses; the message says why.

    :param unknown: whether the name servers know no address of this name; otherwise they failed.
    """

    def __init__(self, reason: str, *, unknown: bool) -> None:
        super().__init__(reason)
        self.unknown = unknown


class HostAddresses:
    """
    The IP addresses of a host name.

    :param family: as in DnsSource.
    """

    def __init__(self, name: str, family: str, ask: Ask, clock: IReactorTime) -> None:
        self._name = name
        self._family = family
        self._ask = ask
        self._clock = clock
        self._found: dict[int, Mapping[str, int]] = {}
        self.expires = clock.seconds()
        """When the addresses should be looked up again."""

    @property
    def ips(self) -> Iterable[str]:
        """The addresses that were found last, whatever failed since."""
        return chain.from_iterable(self._found.values())

    async def look_up(self, given: Sequence[Record] = ()) -> list[str]:
        """
        Look the addresses up; returns what was wrong with the lookup, if anything was.

        When the lookup of one type fails and another succeeds, the failed one keeps its last
        result: some name servers never answer AAAA queries.

        :param given: records that need not be asked for.
        :raises NoAddresses: when there are none. Those found before then stay.
        """
        found: dict[int, Mapping[str, int]] = {}
        failures: list[LookupFailed] = []
        flaws: list[str] = []
        ttls: list[int] = []
        exists = False
        for rrtype in _FAMILIES[self._family]:
            records: Sequence[Record] = [record for record in given if record.type == rrtype]
            complete = True
            if not records:
                try:
                    answer = await self._ask(self._name, rrtype)
                except LookupFailed as error:
                    failures.append(error)
                    if self._family == "both":
                        continue
                    break
                records, complete = answer.records, not answer.flaw
                flaws += [answer.flaw] if answer.flaw else []
                exists = exists or answer.exists
            ttls += [record.ttl for record in records]
            hosts = [record.host for record in records]
            found[rrtype] = remember(self._found.get(rrtype, {}), hosts, complete=complete)
            if records and not self._family:
                break
        flaws += map(str, failures)
        if not any(found.values()):
            self.expires = self._clock.seconds() + SHORTEST
            raise NoAddresses(
                "; ".join(flaws) or no_record(found, exists=exists),
                unknown=all(failure.refused for failure in failures),
            )
        self._found = self._found | found if self._family == "both" else found
        self.expires = self._clock.seconds() + validity(ttls)
        return flaws


def remember(
    before: Mapping[Key, int], found: Iterable[Key], *, complete: bool
) -> Mapping[Key, int]:
    """
    What a name stands for after an answer: in how many more incomplete answers each may be missing.

    :param complete: whether the answer has all records, so that what it leaves out is gone.
    """
    kept = {} if complete else {key: left - 1 for key, left in before.items() if left > 1}
    return kept | dict.fromkeys(found, _PARTIAL_ANSWERS)


def validity(ttls: Iterable[int]) -> float:
    """Seconds until records with these times to live should be looked up again."""
    return max(SHORTEST, min([_LONGEST, *ttls]))


def no_record(types: Iterable[int], *, exists: bool) -> str:
    """Why a name stands for nothing, when no lookup failed."""
    why = "" if exists else ": the name does not exist"
    return f"it has no {' or '.join(TYPES[rrtype] for rrtype in types)} record{why}"
