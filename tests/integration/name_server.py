"""
A name server as a program: python name_server.py ZONE

ZONE is a JSON file, read again for each query. It has, by type (A, AAAA, SRV) and name, the fields
of each record. It prints the port it listens on, and runs until it is killed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.names import dns
from twisted.names.common import ResolverBase
from twisted.names.error import DNSNameError
from twisted.names.server import DNSServerFactory

reactor: Any = installed_reactor

RECORDS: dict[str, Any] = {"A": dns.Record_A, "AAAA": dns.Record_AAAA, "SRV": dns.Record_SRV}


class Zone(ResolverBase):
    """Answers queries from a file, with a time to live of zero."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object) -> Deferred[Any]:
        zone = json.loads(self._path.read_text())
        known = {name for names in zone.values() for name in names}
        if name.decode() not in known:
            return fail(DNSNameError())
        kind = dns.QUERY_TYPES[type]
        answers = [
            dns.RRHeader(name, type, ttl=0, payload=RECORDS[kind](*fields))
            for fields in zone.get(kind, {}).get(name.decode(), [])
        ]
        return succeed((answers, [], []))


def main(zone: str) -> None:
    factory = DNSServerFactory(clients=[Zone(Path(zone))])
    tcp = reactor.listenTCP(0, factory, interface="127.0.0.1")
    port = tcp.getHost().port
    reactor.listenUDP(port, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
    print(port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
