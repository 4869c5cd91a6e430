"""Admin: what operators see and do."""

from infernet_router.admin.audit import Audit
from infernet_router.admin.endpoints import Endpoints, Parts
from infernet_router.admin.state import BadState, State
from infernet_router.admin.steering import Steering
from infernet_router.admin.tokens import BadTokens, Tokens

__all__ = [
    "Audit",
    "BadState",
    "BadTokens",
    "Endpoints",
    "Parts",
    "State",
    "Steering",
    "Tokens",
]
