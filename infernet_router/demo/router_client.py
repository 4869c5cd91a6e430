"""What the demo asks the router: for a node for a job, and to drain a node."""

from collections.abc import Sequence
from typing import Any

from treq.client import HTTPClient
from twisted.web.http_headers import Headers

from infernet_router.demo.sides import Problem, Unable

_TIMEOUT = 5.0


class RouterClient:
    """
    A client of the router, and an operator.

    :param api: the URL that tells clients a node.
    :param admin: the URL of the endpoint for operators, with a slash at its end.
    :param token: that of an operator.
    """

    def __init__(self, http: HTTPClient, reactor: Any, api: str, admin: str, token: str) -> None:
        self._http = http
        self._reactor = reactor
        self._api = api
        self._admin = admin
        self._headers = Headers({"Authorization": [f"Bearer {token}"]})

    async def ask(self, containers: Sequence[str], avoid: Sequence[str]) -> str:
        """
        Ask for a node.

        :param avoid: addresses that it must not have.
        :raises Unable: when there is none.
        :raises Problem: when the router does anything else than it should.
        """
        query = [("container", c) for c in containers] + [("exclude", address) for address in avoid]
        try:
            asked = self._http.get(self._api, params=query)
            response = await asked.addTimeout(_TIMEOUT, self._reactor)
            content = await response.json().addTimeout(_TIMEOUT, self._reactor)
            if response.code == 200:
                return str(content["ip"])
        except Exception as error:
            raise Problem(f"the router did not answer a client: {error!r}") from None
        if response.code == 503:
            raise Unable
        raise Problem(f"the router answered a client with {response.code}: {content}")

    async def drain(self, address: str, seconds: float) -> str:
        """Have a node drained for some seconds; returns why the router refuses, or ""."""
        url = f"{self._admin}admin/v1/nodes/{address}/override"
        order = {"drain": True, "reason": "key d of the demo", "for": f"{seconds:.0f}s"}
        put = self._http.put(url, json=order, headers=self._headers)
        response = await put.addTimeout(_TIMEOUT, self._reactor)
        content = await response.json().addTimeout(_TIMEOUT, self._reactor)
        return "" if response.code == 200 else str(content["error"])
