"""Limits the requests a minute of each client."""

from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import cast

from pyrate_limiter import GCRA, Duration, Rate, RateItem, StateBucket
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.api.answers import answer_error
from infernet_router.api.clients import Clients
from infernet_router.api.routes import PATHS
from infernet_router.counting import Counts
from infernet_router.serving.errors import HTTPError

MAX_RATE = 1_000_000
"""The highest limit, in requests a minute: more than the router can answer."""

_UNLIMITED = frozenset((b"/health", b"/livez", b"/readyz"))
"""Orchestrators, often behind one address, would mistake a 429 for an unhealthy router."""


class RateLimited(Resource):
    """
    The API, limited to so many requests a minute from each client to each path.

    A client may send `limit` requests at once, and one more whenever a `limit`th of a minute has
    passed. Requests over the limit get 429 and do not count. All paths without a route count as
    one path.

    :param limit: requests a minute.
    :param seconds: the monotonic time, in seconds.
    :param counted: the most pairs of client and path that are counted at the same time, 700 bytes
        each. A new pair replaces the one that was seen least recently, and resets its count. To
        evade the limit that way takes more than 50,000 addresses, which could send 50,000 times
        the limit anyway.
    :param counts: counts the requests over the limit.
    """

    isLeaf = True

    def __init__(
        self,
        api: Resource,
        limit: int,
        clients: Clients,
        seconds: Callable[[], float],
        *,
        counted: int = 50_000,
        counts: Counts | None = None,
    ) -> None:
        super().__init__()
        self._counts = counts or Counts()
        self._api = api
        self._clients = clients
        self._seconds = seconds
        self._refusal = f"too many requests: the limit is {limit} a minute for a path"
        rates, algorithm = [Rate(limit, Duration.MINUTE)], GCRA()
        self._bucket = lru_cache(counted)(
            lambda client, path: StateBucket(rates, algorithm=algorithm)
        )

    def render(self, request: Request) -> bytes | int:
        """Pass a request on, or answer 429 with the seconds to wait in Retry-After."""
        path = b"/" + b"/".join(request.postpath or ()).lstrip(b"/")
        wait = 0 if path in _UNLIMITED else self._count(request, path if path in PATHS else b"")
        if not wait:
            return cast(int, self._api.render(request))
        self._counts.rate_limited += 1
        headers = {b"Retry-After": b"%d" % wait}
        return answer_error(request, HTTPError(429, self._refusal, headers))

    def _count(self, request: Request, path: bytes) -> int:
        """Count a request; returns the seconds to wait, 0 when it is within the limit."""
        bucket = self._bucket(self._clients.identify(request), path)
        item = RateItem("", int(self._seconds() * 1000))
        return 0 if bucket.put(item) else ceil(cast(int, bucket.waiting(item)) / 1000)
