"""Shadow: what other rules would have chosen, and how long jobs would have waited there."""

from collections.abc import Sequence
from random import Random

from infernet_router.fleet.load import Loads

RULES = ("router", "two_choices", "least_pending")

_LOOKED_AT = 32
"""The most candidates that are looked at for another rule; they are chosen at random."""


class Shadow:
    """
    Compares this router's choices with those of other rules, on the same information.

    The rules are: of two random candidates, the one with fewer pending jobs in its last report; and
    of all candidates, or 32 random ones if there are more, one with the fewest. Ties are broken at
    random. Neither chooses a node that seems to fail all jobs: its queue is empty for that reason.

    A job waits for the jobs before it: the estimated jobs at the node, divided by its rate. This
    flatters the other rules. They would send all jobs between two reports to the same nodes, but
    the estimate has only those jobs in it that this router sent.

    :param random: a source of its own, so that choices stay the same.
    """

    def __init__(self, loads: Loads, random: Random) -> None:
        self._loads = loads
        self._random = random
        self.samples = 0
        """How many choices were compared."""
        self.wait_seconds = dict.fromkeys(RULES, 0.0)
        """By rule, how long the jobs of all these choices would have waited, in seconds."""

    def compare(self, candidates: Sequence[int], chosen: int, now: float) -> None:
        """Compare a choice, before the job is assigned, with those of the other rules."""
        loads, random = self._loads, self._random
        if len(candidates) > _LOOKED_AT:
            candidates = random.choices(candidates, k=_LOOKED_AT)  # faster than a sample
        healthy = [index for index in candidates if not loads.is_doubted(index)]
        if not healthy or loads.is_doubted(chosen):
            return
        pending = [loads.pending(index) for index in healthy]
        one, other = random.choices(range(len(healthy)), k=2)
        fewest = min(pending)
        least = random.choice([at for at, count in enumerate(pending) if count == fewest])
        two = healthy[one if pending[one] <= pending[other] else other]
        self.samples += 1
        for rule, index in zip(RULES, (chosen, two, healthy[least]), strict=True):
            self.wait_seconds[rule] += loads.jobs(index, now) / loads.rate(index)
