"""Node: what the fleet knows of one node, except its load."""

from enum import StrEnum

from infernet_router.addresses import NodeAddress
from infernet_router.fleet.groups import Candidate, Tier


class State(StrEnum):
    """The state of a node, by its last poll."""

    UNKNOWN = "unknown"
    """It has made no report yet: its first poll has not ended, or was answered with 429."""
    UP = "up"
    SUSPECT = "suspect"
    """It was up, and its last poll ran out of time."""
    DOWN = "down"


class Node(Candidate):
    """What the fleet knows of a node, except its load."""

    __slots__ = (
        "address",
        "descriptions",
        "is_full",
        "override",
        "pending",
        "quiet_since",
        "reason",
        "reported_at",
        "since",
        "state",
        "utilization",
    )

    def __init__(self, address: NodeAddress, index: int, now: float) -> None:
        super().__init__(index)
        self.address = address
        self.state = State.UNKNOWN
        self.since = now
        """When it entered this state."""
        self.reason = ""
        """Why it is down or suspect, or unknown though it was polled."""
        self.descriptions: dict[str, str] = {}
        """While it is up or suspect: the descriptions of its containers, where it gives any."""
        self.pending: int | None = None
        self.quiet_since: float | None = None
        """When it made the report before the last, if neither shows a pending job."""
        self.reported_at: float | None = None
        self.utilization: float | None = None
        """The share of its GPU memory in use, as last said; None if that is unknown."""
        self.is_full = False
        self.override = Tier.NORMAL
        """The best tier in which an operator lets it be."""

    @property
    def is_there(self) -> bool:
        """Whether it is up or suspect."""
        return self.state is State.UP or self.state is State.SUSPECT

    def is_outdated(self, at: float) -> bool:
        """Whether a report made then is older than the last, or than a failure after that."""
        if self.reported_at is not None and at < self.reported_at:
            return True
        return at < self.since and self.state in (State.SUSPECT, State.DOWN)

    @property
    def due_tier(self) -> Tier:
        """The worst of three tiers: by its order, its utilization and its state."""
        return max(
            self.override,
            Tier.FULL if self.is_full else Tier.NORMAL,
            Tier.SUSPECT if self.state is State.SUSPECT else Tier.NORMAL,
        )
