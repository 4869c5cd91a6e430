"""Sources: where the addresses of nodes come from."""

from infernet_router.sources.address_file import AddressFile
from infernet_router.sources.asked import AskedSource
from infernet_router.sources.dns_records import DnsWatcher, dns_resolver
from infernet_router.sources.joining import BadSource, Sources, SourceState
from infernet_router.sources.node_explorer import ask_explorer

__all__ = [
    "AddressFile",
    "AskedSource",
    "BadSource",
    "DnsWatcher",
    "SourceState",
    "Sources",
    "ask_explorer",
    "dns_resolver",
]
