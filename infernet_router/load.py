"""What one node's queue looks like now."""


class Load:
    """The jobs one node has: those its last report names, and those handed to it since."""

    __slots__ = ("assigned", "pending")

    def __init__(self) -> None:
        self.pending = 0
        self.assigned = 0

    @property
    def jobs(self) -> int:
        """The router's estimate of the jobs that wait or run at the node."""
        return self.pending + self.assigned

    def reported(self, pending: int) -> None:
        """The node says it has `pending` jobs; those handed to it before are among them."""
        self.pending = pending
        self.assigned = 0

    def assign(self) -> None:
        """One job was handed to the node."""
        self.assigned += 1
