"""Weights: what jobs cost, by container and by kind."""

from collections.abc import Collection, Mapping

from attrs import field, frozen


@frozen
class Weights:
    """What jobs cost; an ordinary job costs 1."""

    jobs: Mapping[str, float] = field(factory=dict)
    """By container, what one job for it costs; 1 for a container that is not listed."""

    pending: Mapping[str, float] = field(factory=dict)
    """By kind of pending jobs, what each costs; 1 for a kind that is not listed."""

    def of_job(self, containers: Collection[str]) -> float:
        """What one job for all these containers costs: the sum over them."""
        if not self.jobs:
            return float(len(containers))
        return sum([self.jobs.get(container, 1.0) for container in containers])

    def of_pending(self, pending: Mapping[str, int]) -> float:
        """The pending jobs of a report, weighted by kind."""
        return sum([count * self.pending.get(kind, 1.0) for kind, count in pending.items()])
