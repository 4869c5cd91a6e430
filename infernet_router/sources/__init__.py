"""Sources: where the addresses of nodes come from."""

from infernet_router.sources.address_file import AddressFile
from infernet_router.sources.asked import AskedSource
from infernet_router.sources.dns_records import DnsWatcher
from infernet_router.sources.joining import BadSource, Sources, SourceState
from infernet_router.sources.name_servers import NameServers, system_servers
from infernet_router.sources.node_explorer import ask_explorer

__all__ = [
    "AddressFile",
    "AskedSource",
    "BadSource",
    "DnsWatcher",
    "NameServers",
    "SourceState",
    "Sources",
    "ask_explorer",
    "system_servers",
]
