"""Admin: what operators see."""

from infernet_router.admin.endpoints import Endpoints, Parts
from infernet_router.admin.tokens import BadTokens, Tokens

__all__ = [
    "BadTokens",
    "Endpoints",
    "Parts",
    "Tokens",
]
