"""The description of the API for programs: an OpenAPI 3.1 document."""

from typing import Any

import msgspec

from infernet_router import __version__

MAX_N = 1000
"""The most nodes that are listed in one answer."""

DEFAULT_N = 3
"""The nodes that are listed if nobody says how many."""

MAX_OFFSET = 1_000_000
"""The most nodes that are passed over: more than any fleet has."""

MAX_MODEL = 500
"""The longest model id, in characters."""


def _parameter(name: str, description: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A response with a JSON body."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _later(description: str) -> dict[str, Any]:
    """A response that says what is wrong now, and when to ask again."""
    return {
        **_json(description, _REASON),
        "headers": {
            "Retry-After": {
                "description": "seconds after which the answer may be another",
                "schema": {"type": "integer", "minimum": 1},
                "required": True,
            }
        },
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that has all of these and nothing else."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _by(names: str, values: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that has names of one kind."""
    return {"type": "object", "description": f"by {names}", "additionalProperties": values}


def _route(
    summary: str,
    description: str,
    answer: dict[str, Any],
    *parameters: dict[str, Any],
    unavailable: str | None = None,
    limited: bool = True,
) -> dict[str, Any]:
    """A path, and what GET and HEAD do there."""
    responses = {"200": answer}
    if parameters:
        responses["400"] = _ERROR
    if limited:
        responses["429"] = _later(
            "the client asks more often than the operator of the router lets it"
        )
    if unavailable:
        responses["503"] = _later(unavailable)
    said = {"summary": summary, "description": description, "parameters": list(parameters)}
    without_body = {
        status: {key: value for key, value in response.items() if key != "content"}
        for status, response in responses.items()
    }
    return {
        "get": {**said, "responses": responses},
        "head": {**said, "summary": f"{summary}, without a body", "responses": without_body},
    }


_COUNT = {"type": "integer", "minimum": 0}
_REASON = _object(error={"type": "string", "description": "what is wrong"})
_ERROR = _json("the request cannot be answered", _REASON)
_ADDRESS = {
    "type": "string",
    "minLength": 1,
    "description": "a node's address as its operator wrote it; http:// goes before one that has no"
    " scheme",
    "examples": ["10.0.0.7:4000", "https://node.example.org"],
}
_CONTAINER = _parameter(
    "container",
    "a container the node must run; once for each that the job needs",
    {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": 90},
    required=True,
    example=["llm"],
)
_MODEL = _parameter(
    "model_id",
    "a model that one of the containers must be known to support",
    {"type": "string", "minLength": 1, "maxLength": MAX_MODEL},
)

_PATHS = {
    "/api/v1/ip": _route(
        "The node to use for one job",
        "The best node to use now. GET counts the job as assigned to it, HEAD does not.",
        _json("the node", _object(ip=_ADDRESS)),
        _CONTAINER,
        _MODEL,
        unavailable="why no node can do the job",
    ),
    "/api/v1/ips": _route(
        "The best nodes for one job",
        "The best nodes to use now, best first, those over --max-utilization after all others; none"
        " if no node can do the job. GET counts the job"
        " as assigned to the first, HEAD does not.",
        _json("the nodes", {"type": "array", "items": _ADDRESS, "maxItems": MAX_N}),
        _CONTAINER,
        _MODEL,
        _parameter(
            "n",
            "how many nodes, at most",
            {"type": "integer", "minimum": 0, "maximum": MAX_N, "default": DEFAULT_N},
        ),
        _parameter(
            "offset",
            "how many better nodes to leave out",
            {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
        ),
        unavailable="why nodes cannot be asked about the model",
    ),
    "/api/v1/containers": _route(
        "What runs where",
        "Every container that nodes which are up run, sorted by id.",
        _json(
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
    "/api/v1/resources": _route(
        "What containers say of themselves",
        "What the containers of each node that is up said of themselves, within the last minutes."
        " With a model_id, whether they support this model, as they say now or said within the"
        " last minutes; nodes that take more than 2 seconds are left out.",
        _json("what they say", _by("address", _by("container", {"type": "object"}))),
        _parameter("model_id", "a model to ask about", _MODEL["schema"]),
        unavailable="why nodes cannot be asked about the model",
    ),
    "/health": _route(
        "Whether the router is of use",
        "Healthy while at least one node is up and the router is not about to end.",
        _json(
            "it is healthy; how many nodes are in which state",
            _object(status={"const": "healthy"}, up=_COUNT, down=_COUNT, unknown=_COUNT),
        ),
        unavailable="why it is not",
        limited=False,
    ),
    "/openapi.json": _route(
        "This document", "The API in OpenAPI 3.1.", _json("the document", {"type": "object"})
    ),
}

DESCRIPTION = msgspec.json.encode(
    {
        "openapi": "3.1.0",
        "info": {
            "title": "Infernet Router",
            "version": __version__,
            "summary": "Tells clients of Infernet nodes which node to send a job to.",
            "license": {"name": "BSD 3-Clause Clear", "identifier": "BSD-3-Clause-Clear"},
        },
        "paths": _PATHS,
    }
)
"""The document, in JSON."""
