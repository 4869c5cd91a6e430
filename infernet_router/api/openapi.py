"""Describes the API for programs, in an OpenAPI 3.1 document."""

from collections.abc import Sequence
from typing import Any

import msgspec

from infernet_router import __version__
from infernet_router.api.decisions import MAX_ID
from infernet_router.fleet import Outcome

MAX_N = 1000
"""The most nodes in one response."""

DEFAULT_N = 3
"""How many nodes are listed by default."""

MAX_OFFSET = 1_000_000
"""The most nodes to skip: more than any fleet has."""

MAX_EXCLUDED = 16
"""The most nodes that a client may exclude."""

MAX_JOBS = 100
"""The most jobs that one response may assign."""

MAX_MODEL = 500
"""The longest model id, in characters."""


_SUMMARY = "Tells clients of Infernet nodes which node to send a job to."

FRONT = {
    "service": "infernet-router",
    "summary": _SUMMARY,
    "usage": "GET /api/v1/ip?container=ID names the node to send a job for this container to.",
    "openapi": "/openapi.json",
    "documentation": "docs/api.md in the source release",
}
"""What a client that asks for / gets to know."""


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A response with a JSON body."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _retry_later(description: str) -> dict[str, Any]:
    """An error response that says when to try again."""
    return {
        **_json(description, _REASON),
        "headers": {
            "Retry-After": {
                "description": "seconds to wait before the next try",
                "schema": {"type": "integer", "minimum": 1},
                "required": True,
            }
        },
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with exactly these properties, all required."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _by(names: str, values: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object whose names are all of one kind."""
    return {"type": "object", "description": f"by {names}", "additionalProperties": values}


def _path(
    summary: str,
    *,
    description: str,
    response: dict[str, Any],
    parameters: Sequence[dict[str, Any]] = (),
    unavailable: str | None = None,
    limited: bool = True,
) -> dict[str, Any]:
    """
    The operations of a path: GET, and HEAD without a body.

    :param response: the response of status 200.
    :param unavailable: what a 503 says, if there is one.
    :param limited: whether the rate limit applies.
    """
    responses = {"200": response}
    if parameters:
        responses["400"] = _ERROR
    if limited:
        responses["429"] = _LIMITED
    if unavailable:
        responses["503"] = _retry_later(unavailable)
    common = {"summary": summary, "description": description, "parameters": list(parameters)}
    without_body = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }
    without_body["200"].pop("headers", None)  # HEAD makes no decision
    return {
        "get": {**common, "responses": responses},
        "head": {**common, "summary": f"{summary}, without a body", "responses": without_body},
    }


_COUNT = {"type": "integer", "minimum": 0}
_REASON = _object(error={"type": "string", "description": "why the request failed"})
_LIMITED = _retry_later("the client is over its rate limit, or asks about too many models")
_ERROR = _json("the request is invalid", _REASON)
_PROBE = {
    **_object(
        status={"type": "string"}, why={"type": "string", "description": "only with verbose"}
    ),
    "required": ["status"],
}
_VERBOSE = _parameter("verbose", "if given, the response says why", {"type": "string"})
_ADDRESS = {
    "type": "string",
    "minLength": 1,
    "description": "a node's address as the operator wrote it; without a scheme, it means http://",
    "examples": ["10.0.0.7:4000", "https://node.example.org"],
}
_CONTAINER = _parameter(
    "container",
    "a container that the job needs; repeated for each further one",
    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 80},
    required=True,
    example=["llm"],
)
_MODEL = _parameter(
    "model_id",
    "a model that at least one of the containers must support",
    {"type": "string", "minLength": 1, "maxLength": MAX_MODEL},
)
_EXCLUDE = _parameter(
    "exclude",
    "the address of a node that must not be used, however it is written; repeated for each further"
    " one",
    {"type": "array", "items": _ADDRESS, "maxItems": MAX_EXCLUDED},
)
_DECISION = {
    "headers": {
        "Infernet-Decision": {
            "description": "the id of the decision, valid for 10 minutes; absent if no node was"
            " chosen",
            "schema": {"type": "string"},
        }
    }
}
"""What a response with a decision has besides its body."""

_PATHS = {
    "/": _path(
        "What this service is",
        description="What the service does, and where it is described.",
        response=_json("the service", _object(**{key: {"const": FRONT[key]} for key in FRONT})),
    ),
    "/api/v1/ip": _path(
        "The node to use for one job, or for several",
        description="The best node now. GET counts the jobs as assigned to it, HEAD does not. While"
        " first polls are not back, this may wait for up to a second.",
        response=_json("the node", _object(ip=_ADDRESS)) | _DECISION,
        parameters=(
            _CONTAINER,
            _MODEL,
            _EXCLUDE,
            _parameter(
                "jobs",
                "how many jobs are to be sent to the node, as to /api/jobs/batch",
                {"type": "integer", "minimum": 1, "maximum": MAX_JOBS, "default": 1},
            ),
        ),
        unavailable="why no node can do the job",
    ),
    "/api/v1/ips": _path(
        "The best nodes for one job",
        description="The best nodes now, best first; those over --max-utilization come last. The"
        " list is empty when no node can do the job. GET counts the job as assigned to the first"
        " node, HEAD does not.",
        response=_json("the nodes", {"type": "array", "items": _ADDRESS, "maxItems": MAX_N})
        | _DECISION,
        parameters=(
            _CONTAINER,
            _MODEL,
            _EXCLUDE,
            _parameter(
                "n",
                "the most nodes to list",
                {"type": "integer", "minimum": 0, "maximum": MAX_N, "default": DEFAULT_N},
            ),
            _parameter(
                "offset",
                "how many of the best nodes to skip",
                {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
            ),
        ),
        unavailable="why nodes cannot be asked about the model",
    ),
    "/api/v1/outcomes": {
        "post": {
            "summary": "Report the outcome of a job",
            "description": "The router learns which nodes fail jobs. Outcomes alone make no node"
            " ineligible.",
            "parameters": [
                _parameter(
                    "decision",
                    "the Infernet-Decision of the response that named the node",
                    {"type": "string", "minLength": 1, "maxLength": MAX_ID},
                    required=True,
                ),
                _parameter(
                    "outcome",
                    "the outcome of the job",
                    {"type": "string", "enum": list(Outcome)},
                    required=True,
                ),
            ],
            "responses": {
                "204": {"description": "noted"},
                "400": _ERROR,
                "404": _json("the decision is unknown or older than 10 minutes", _REASON),
                "409": _json("the decision has an outcome already", _REASON),
                "429": _LIMITED,
            },
        }
    },
    "/api/v1/containers": _path(
        "The containers that run",
        description="All containers that run on nodes that are up, sorted by id.",
        response=_json(
            "the containers",
            {
                "type": "array",
                "items": _object(
                    id={"type": "string"},
                    count={"type": "integer", "minimum": 1, "description": "how many nodes run it"},
                    description={"type": ["string", "null"]},
                ),
            },
        ),
    ),
    "/api/v1/resources": _path(
        "The resources of the nodes that are up",
        description="What each container reported about its hardware and models within the last"
        " minutes. With model_id, whether each container supports that model; nodes that take"
        " longer than 2 seconds to answer are left out.",
        response=_json(
            "what the containers reported", _by("address", _by("container", {"type": "object"}))
        ),
        parameters=(_parameter("model_id", "a model to ask about", _MODEL["schema"]),),
        unavailable="why nodes cannot be asked about the model",
    ),
    "/health": _path(
        "Health check",
        description="Healthy while at least one node is up or suspect, polls are sent, and the"
        " router is not shutting down.",
        response=_json(
            "healthy, with the number of nodes in each state",
            _object(
                status={"const": "healthy"},
                up=_COUNT,
                suspect=_COUNT,
                down=_COUNT,
                unknown=_COUNT,
            ),
        ),
        unavailable="why it is not healthy",
        limited=False,
    ),
    "/livez": _path(
        "Liveness probe",
        description="Whether the process answers at all.",
        response=_json("alive", _PROBE),
        parameters=(_VERBOSE,),
        limited=False,
    ),
    "/readyz": _path(
        "Readiness probe",
        description="Ready once the first polls are back, also when no node is up, and until the"
        " router shuts down.",
        response=_json("ready", _PROBE),
        parameters=(_VERBOSE,),
        unavailable="why it is not ready",
        limited=False,
    ),
    "/openapi.json": _path(
        "This document",
        description="The API in OpenAPI 3.1.",
        response=_json("the document", {"type": "object"}),
    ),
}

DESCRIPTION = msgspec.json.encode(
    {
        "openapi": "3.1.0",
        "info": {
            "title": "Infernet Router",
            "version": __version__,
            "summary": _SUMMARY,
            "license": {"name": "BSD 3-Clause Clear", "identifier": "BSD-3-Clause-Clear"},
        },
        "paths": _PATHS,
    }
)
"""The document, as JSON."""
