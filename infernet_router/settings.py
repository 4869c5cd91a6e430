"""The settings of a router: the values of its options."""

from collections.abc import Mapping
from pathlib import Path

from attrs import Factory, asdict, field, frozen

from infernet_router.addresses import NodeAddress
from infernet_router.api.clients import Proxy
from infernet_router.nodes.node_headers import NodeHeader
from infernet_router.nodes.polling import MAX_POLLS
from infernet_router.quoting import host_port, quoted
from infernet_router.replicas.redis_url import RedisUrl

_MAIN = ("ips", "interval", "busy_interval", "timeout", "max_polls")
"""The settings that are always shown."""

_HIDDEN = (
    *("port", "listen", "ips_given", "admin", "admin_given", "metrics"),
    *("admin_token", "node_header"),
)
"""The settings that the log does not show: listening addresses have log lines of their own."""

_SECRET = ("admin_token", "node_header")
"""The settings whose value is never shown."""

_ADMIN = "tcp:4001:interface=127.0.0.1"

_UNITS = {
    "interval": " s",
    "busy_interval": " s",
    "timeout": " s",
    "resources_interval": " s",
    "rate_limit": "/min",
    "idle_timeout": " s",
    "linger": " s",
}


@frozen(kw_only=True)
class Settings:
    """A router's configuration. Fields are named like options; `Settings()` has the defaults."""

    port: int = 4000
    listen: tuple[str, ...] = ()
    """Twisted endpoint descriptions to serve on, in place of the port."""
    ips: Path = Path("ips.txt")
    ips_given: bool = False
    """Whether the file was named, so that it must exist even if there is a Node Explorer."""
    wait_for_nodes: bool = False
    """Whether to start while the file is missing, empty or bad."""
    node_explorer: NodeAddress | None = None
    resolver: tuple[str, int] | None = None
    """IP address and port of the name server to ask; None for the system's."""
    interval: float = 3.0
    busy_interval: float = 1.1
    timeout: float = 3.0
    max_polls: int = MAX_POLLS
    resources_interval: float = 60.0
    max_utilization: float = 1.0
    ca_file: Path | None = None
    node_header: tuple[NodeHeader, ...] = ()
    """Headers of each request to a node."""
    rate_limit: int | None = None
    """Requests a minute for each client and path; None for no limit."""
    idle_timeout: float = 75.0
    job_weight: Mapping[str, float] = Factory(dict)
    pending_weight: Mapping[str, float] = Factory(dict)
    trust_proxy: tuple[Proxy, ...] = ()
    cors_origin: tuple[str, ...] = ()
    admin: str | None = _ADMIN
    """Twisted endpoint description to serve operators on; None for no such endpoint."""
    admin_given: bool = False
    """Whether that was named, so that the router must be able to listen there."""
    admin_host: tuple[str, ...] = ()
    admin_tokens: Path | None = None
    admin_token: str | None = field(default=None, repr=False)
    """The token of an operator, which only an environment variable sets."""
    state: Path | None = None
    """The directory where the orders of operators are kept."""
    metrics: str | None = None
    """Twisted endpoint description to serve metrics on, and nothing else that is for operators."""
    log_format: str = "text"
    log_level: str = "info"
    linger: float = 0.0
    redis: RedisUrl | None = None
    """The Redis through which routers share one fleet; None for a router that shares nothing."""
    redis_ca_file: Path | None = None
    redis_prefix: str = "infernet-router"
    reuse_port: bool = False

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Descriptions of the Twisted endpoints to serve on."""
        return self.listen or (f"tcp:{self.port}",)

    def shown(self) -> dict[str, object]:
        """All options as JSON can have them, by their name on the command line; no secrets."""
        return {
            name.replace("_", "-"): "(hidden)" if name in _SECRET and value else _plain(value)
            for name, value in asdict(self, recurse=False).items()
            if not name.endswith("_given")
        }

    def __str__(self) -> str:
        """The main values, and those that differ from the default, on one printable line."""
        defaults = Settings()
        text = ", ".join(
            f"{name.replace('_', '-')} {shown(value)}{_UNITS.get(name, '')}"
            for name, value in asdict(self, recurse=False).items()
            if name in _MAIN or (name not in _HIDDEN and value != getattr(defaults, name))
        )
        return text if text.isprintable() else quoted(text)


def _plain(value: object) -> object:
    """A setting's value as JSON can have it."""
    match value:
        case (str(), int()):
            return shown(value)
        case tuple():
            return list(map(str, value))
        case Mapping():
            return dict(value)
        case None | bool() | int() | float():
            return value
        case _:
            return str(value)


def shown(value: object) -> str:
    """A setting's value, as in a help text or the log."""
    match value:
        case True:
            return "yes"
        case float():
            return f"{value:g}"
        case (str(host), int(port)):
            return host_port(host, port)
        case tuple():
            return " ".join(map(str, value))
        case Mapping():
            return " ".join(f"{name}={weight:g}" for name, weight in value.items())
        case _:
            return str(value)
