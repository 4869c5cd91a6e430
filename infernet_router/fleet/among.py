"""Among: some of the nodes, to choose from."""

from collections.abc import Callable, Sequence

from attrs import frozen

from infernet_router.addresses import NodeAddress


@frozen
class Among:
    """Some of the nodes, to choose from."""

    addresses: Sequence[NodeAddress]
    otherwise: str
    """The error message when none of them is a candidate, but other nodes are."""
    includes: Callable[[NodeAddress], bool] | None = None
    """Whether an address is meant; by default, all are."""
