"""Nodes: asks them what they run and how busy they are."""

from infernet_router.nodes.connections import NodeConnections, http_client
from infernet_router.nodes.hostnames import HostnameResolver
from infernet_router.nodes.model_support import CannotSurvey, Surveyor
from infernet_router.nodes.node_headers import WithHeaders
from infernet_router.nodes.pace import Paces
from infernet_router.nodes.polling import Poller
from infernet_router.nodes.resources import Resources
from infernet_router.nodes.tls import BadCertificates

__all__ = [
    "BadCertificates",
    "CannotSurvey",
    "HostnameResolver",
    "NodeConnections",
    "Paces",
    "Poller",
    "Resources",
    "Surveyor",
    "WithHeaders",
    "http_client",
]
