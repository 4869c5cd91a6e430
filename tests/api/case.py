"""The fleet of test cases that ask the API."""

from typing import Any

from infernet_router.addresses import NodeAddress
from infernet_router.fleet import Fleet, Steps


class CountingFleet(Fleet):
    """A fleet that counts how often it is asked for a node."""

    picks = 0

    def pick(self, *arguments: Any, **options: Any) -> NodeAddress:
        self.picks += 1
        return super().pick(*arguments, **options)

    def picking(self, *arguments: Any, **options: Any) -> Steps[NodeAddress]:
        self.picks += 1
        return super().picking(*arguments, **options)
