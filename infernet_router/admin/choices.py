"""Choices: why nodes were chosen, and which would be, as operators get it in JSON."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred, maybeDeferred

from infernet_router.addresses import NodeAddress
from infernet_router.admin.results import Results
from infernet_router.admin.shown import Viewer, rounded
from infernet_router.api.decisions import Decisions
from infernet_router.fleet import Among, Compared, Decision, Explanation, Fleet, Forecast, Records
from infernet_router.nodes import Surveyor
from infernet_router.serving.errors import RETRY_SOON, HTTPError

_A_SECOND = 5
"""How many explanations, and how many forecasts, there may be in a second: each looks at all
nodes."""


class _Limit:
    """
    Allows something a few times a second.

    :param seconds: the monotonic time, in seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: deque[float] = deque(maxlen=_A_SECOND)

    def take(self) -> None:
        """
        Do it once.

        :raises HTTPError: 429 when it was done too often.
        """
        now = self._seconds()
        if len(self._last) == _A_SECOND and now - self._last[0] < 1.0:
            raise HTTPError(429, f"only {_A_SECOND} of these a second are answered", RETRY_SOON)
        self._last.append(now)


class Choices:
    """
    Shows the choices of a fleet.

    :param records: what the fleet remembers of them.
    :param ids: the ids of its decisions.
    :param surveyor: asks nodes whether they support a model.
    :param seconds: the monotonic time, in seconds.
    """

    def __init__(
        self,
        fleet: Fleet,
        records: Records,
        ids: Decisions,
        surveyor: Surveyor,
        results: Results,
        viewer: Viewer,
        seconds: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._decisions = records.decisions
        self._ids = ids
        self._surveyor = surveyor
        self._results = results
        self._viewer = viewer
        self._explanations, self._forecasts = _Limit(seconds), _Limit(seconds)

    def get(self, id: str) -> dict[str, Any]:
        """
        A decision.

        :raises HTTPError: 404 when it is unknown, or not kept any more.
        """
        number = self._ids.number_of(unquote(id))
        decision = None if number is None else self._decisions.get(number)
        if decision is None:
            raise HTTPError(404, "there is no such decision, or it is not kept any more")
        return self._shown(decision)

    def newest(
        self, container: str | None, node: NodeAddress | None, limit: int
    ) -> Deferred[Iterator[dict[str, Any]]]:
        """
        The last decisions for a container, of those that chose a node, newest first.

        Each takes a tenth of a millisecond when the iterator comes to it.
        """
        found = self._results.make(self._decisions.newest(container, node, limit))
        return found.addCallback(partial(map, self._shown))

    def explain(
        self,
        containers: Collection[str],
        model: str | None,
        exclude: Collection[NodeAddress],
        node: NodeAddress | None,
        limit: int,
    ) -> Deferred[dict[str, Any]]:
        """
        What a job would cost at each node, and of one node why it would get it or not.

        :raises HTTPError: 404 when that node is not known, 429 when this was asked too often.
        """
        if node is not None and self._fleet.view(node) is None:
            raise HTTPError(404, f"there is no node {node}")
        self._explanations.take()

        def explain(among: Among | None) -> Deferred[Explanation]:
            steps = self._fleet.explain(containers, among, exclude=exclude, node=node, limit=limit)
            return self._results.make(steps)

        if model is None:
            return explain(None).addCallback(_explained)
        surveyed: Deferred[Any] = maybeDeferred(self._surveyor.survey, model, "operators")
        surveyed.addCallback(lambda survey: explain(survey.among(containers)))
        return surveyed.addCallback(_explained)

    def whatif(self, drained: Iterable[NodeAddress]) -> Deferred[dict[str, Any]]:
        """
        What would change if nodes were drained.

        :raises HTTPError: 429 when this was asked too often.
        """
        self._forecasts.take()
        return self._results.make(self._fleet.whatif(drained)).addCallback(_forecast)

    def _shown(self, decision: Decision) -> dict[str, Any]:
        """A decision."""
        left, after = decision.left_out, decision.after
        return {
            "id": self._ids.id_of(decision.number, decision.time),
            "time": self._viewer.instant(decision.time),
            "containers": decision.containers,
            "node": str(decision.node),
            "candidates": decision.candidates,
            "left_out": {
                "down": left.down,
                "drained": left.drained,
                "full": left.full,
                "excluded": left.excluded,
                "suspect": left.suspect,
            },
            "compared": _compared(decision.compared),
            "margin": None if decision.margin is None else rounded(decision.margin),
            "after": after
            and {
                "expected_jobs": rounded(after.expected_jobs),
                "reported_jobs": rounded(after.reported_jobs),
                "age_seconds": round(after.age, 3),
            },
        }


def _compared(nodes: Iterable[Compared]) -> list[dict[str, Any]]:
    return [
        {
            "node": str(each.node),
            "cost": rounded(each.cost),
            "jobs": rounded(each.jobs),
            "rate": rounded(each.rate),
        }
        for each in nodes
    ]


def _explained(explanation: Explanation) -> dict[str, Any]:
    node = explanation.node
    return {
        "candidates": explanation.candidates,
        "nodes": _compared(explanation.nodes),
        "node": node and {"node": str(node.node), "rank": node.rank, "why": node.why},
        "why": explanation.why,
    }


def _forecast(forecast: Forecast) -> dict[str, Any]:
    return {
        "containers": [
            {
                "id": container.id,
                "nodes": container.nodes,
                "capacity_jobs_per_second": [*map(rounded, container.capacity)],
                "utilization": [
                    None if share is None else rounded(share) for share in container.utilization
                ],
            }
            for container in forecast.containers
        ],
        "notes": forecast.notes,
    }
