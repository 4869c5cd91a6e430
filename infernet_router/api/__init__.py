"""The API: what clients are answered."""

from infernet_router.api.clients import Clients
from infernet_router.api.cors import CrossOrigin
from infernet_router.api.decisions import Decisions
from infernet_router.api.first_polls import FirstPolls
from infernet_router.api.outcomes import Outcomes
from infernet_router.api.probes import Readiness
from infernet_router.api.rate_limit import RateLimited
from infernet_router.api.routes import Api

__all__ = [
    "Api",
    "Clients",
    "CrossOrigin",
    "Decisions",
    "FirstPolls",
    "Outcomes",
    "RateLimited",
    "Readiness",
]
