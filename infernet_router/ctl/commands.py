"""Commands: what infernet-router-ctl does, from its arguments to its exit code."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from time import monotonic
from typing import IO, Any, NoReturn
from urllib.parse import quote

from infernet_router.ctl.arguments import DEFAULT_URL, URL, BadArguments, find_token, parse
from infernet_router.ctl.asking import BadUrl, CannotReach, Refused, Router, node_path
from infernet_router.ctl.tables import print_fields, print_json, print_table, text_of

_REFUSED, _USAGE, _UNREACHABLE, _INTERRUPTED = 1, 2, 3, 130

_PAGE = 1000
"""Nodes that are asked for at a time: as many as the router gives."""

_LOOK = 10
"""Seconds that the router is asked to wait for a drain at a time."""


class _Commands:
    """
    The commands.

    :param arguments: the parsed arguments of one.
    """

    def __init__(self, router: Router, arguments: argparse.Namespace, out: IO[str]) -> None:
        self._router = router
        self._given = arguments
        self._out = out

    def nodes(self) -> int:
        """List nodes."""
        given, nodes, total = self._given, list[Any](), 1
        while len(nodes) < min(total, given.limit or total):
            query = {
                "state": given.state,
                "container": given.container,
                "q": given.search,
                "sort": given.sort,
                "order": "desc" if given.desc else None,
                "offset": len(nodes),
                "limit": min(_PAGE, given.limit - len(nodes)) if given.limit else _PAGE,
            }
            page = self._router.get("nodes", query)
            total = page["total"]
            if not page["nodes"]:
                break
            nodes += page["nodes"]
        names = ("address", "state", "pending", "jobs", "rate", "weight", "containers", "reason")
        rows = ([*(node[name] for name in names[:-1]), _why(node)] for node in nodes)
        return self._show({"total": total, "nodes": nodes}, names, rows)

    def node(self) -> int:
        """Show one node."""
        node = self._router.get(node_path(self._given.address))
        if self._given.json:
            print_json(node, self._out)
            return 0
        override = node["override"]
        order = f"{override['given']} {_what(override)}" if override else None
        fields = {**node, "override": order}
        history, decisions = fields.pop("history"), fields.pop("decisions")
        lines = list(fields.items())
        lines += [("history", f"{one['time']} {one['state']} {one['reason']}") for one in history]
        lines += [("decision", f"{one['time']} {one['id']}") for one in decisions]
        print_fields(lines, self._out)
        return 0

    def explain(self) -> int:
        """Say which node would get a job, and why."""
        given = self._given
        query = {
            "container": given.containers,
            "model_id": given.model,
            "exclude": given.exclude,
            "node": given.node,
            "limit": given.limit,
        }
        found = self._router.get("explain", query)
        names = ("node", "cost", "jobs", "rate")
        self._show(found, names, ([one[name] for name in names] for one in found["nodes"]))
        if not given.json and (asked := found.get("node")):
            rank = f"rank {asked['rank']}: " if asked["rank"] else ""
            print(text_of(f"{asked['node']}: {rank}{asked['why']}"), file=self._out)
        if (why := found["why"]) is None:
            return 0
        _tell(why)
        return _REFUSED

    def decisions(self) -> int:
        """List the last decisions, the last first."""
        given = self._given
        query = {"container": given.container, "node": given.node, "limit": given.limit}
        found = self._router.get("decisions", query)
        names = ("time", "id", "containers", "node", "candidates", "margin")
        rows = ([one[name] for name in names] for one in found["decisions"])
        return self._show(found, names, rows)

    def decision(self) -> int:
        """Show one decision."""
        one = self._router.get(f"decisions/{quote(self._given.id, safe='')}")
        if self._given.json:
            print_json(one, self._out)
            return 0
        lines = {**one, "left_out": _pairs(one["left_out"]), "after": _pairs(one["after"] or {})}
        compared = [("compared", _pairs(each)) for each in lines.pop("compared")]
        print_fields([*lines.items(), *compared], self._out)
        return 0

    def drain(self) -> int:
        """Give a node no job any more."""
        given = self._given
        before = self._override()
        order: dict[str, Any] = {"drain": True, "force": given.force}
        if before and before["weight"] is not None:
            order |= {"weight": before["weight"], **self._shared(before, "weight")}
        override = self._put(order | self._why_and_how_long(given))
        self._warn_if_unknown()
        if given.wait:
            return self._wait()
        return self._done(override, f"{override['address']}: {_what(override)}")

    def undrain(self) -> int:
        """Give a node jobs again."""
        before = self._override()
        if before is None or not before["drain"]:
            raise Refused(404, f"{self._given.address} is not drained by an order")
        return self._end_half(before, "drain")

    def weight(self) -> int:
        """Change how many jobs a node gets."""
        given = self._given
        before = self._override()
        if given.weight is None:
            if before is None or before["weight"] is None:
                raise Refused(404, f"{given.address} has no weight by an order")
            return self._end_half(before, "weight")
        order: dict[str, Any] = {"weight": given.weight}
        if before and before["drain"]:
            order |= {"drain": True, "force": True, **self._shared(before, "drain")}
        override = self._put(order | self._why_and_how_long(given))
        self._warn_if_unknown()
        return self._done(override, f"{override['address']}: {_what(override)}")

    def overrides(self) -> int:
        """List the orders of operators."""
        found = self._router.get("overrides")
        names = ("address", "order", "until", "by", "given", "reason")
        rows = (
            [one["address"], _order(one), one["until"], one["by"], one["given"], one["reason"]]
            for one in found["overrides"]
        )
        return self._show(found, names, rows)

    def audit(self) -> int:
        """List who changed what, and who was refused, the last first."""
        found = self._router.get("audit", {"limit": self._given.limit})
        names = ("time", "name", "peer", "verb", "order", "address", "result", "reason")
        rows = (
            [
                *(one.get(name) for name in names[:4]),
                _order(one["after"]) if one.get("after") else None,
                *(one.get(name) for name in names[5:]),
            ]
            for one in found["audit"]
        )
        return self._show(found, names, rows)

    def _override(self) -> Any:
        """The order for the address that was given; None if there is none."""
        try:
            return self._router.get(f"{node_path(self._given.address)}/override")
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def _put(self, order: dict[str, Any]) -> Any:
        try:
            return self._router.put(f"{node_path(self._given.address)}/override", order)
        except Refused as error:
            words = str(error).replace(": force drains", ": --force drains")
            raise Refused(error.status, words) from None

    def _end_half(self, before: Mapping[str, Any], half: str) -> int:
        """End the drain or the weight of an order, and keep the other."""
        other = {"drain": "weight", "weight": "drain"}[half]
        if not before[other]:
            self._router.delete(f"{node_path(self._given.address)}/override")
            return self._done(None, f"{before['address']}: has no override any more")
        override = self._put({other: before[other], "force": True, **_kept(before)})
        return self._done(override, f"{override['address']}: {_what(override)}")

    def _warn_if_unknown(self) -> None:
        """Say so if the router knows no node with the address, which may be mistyped."""
        try:
            self._router.get(node_path(self._given.address))
        except Refused as error:
            if error.status != 404:
                raise
            _tell("the router knows no such node; the order waits for it")

    def _shared(self, before: Mapping[str, Any], half: str) -> dict[str, Any]:
        """
        The reason and the end of an order that stays when one half of it is added or changed.

        :param half: the other half, which stays.
        :raises Refused: when another end was given, which would be that of the other half, too.
        """
        if self._given.duration is None:
            return _kept(before)
        address, until = before["address"], before["until"]
        end = f"until {until}" if until else "without an end"
        what, undo = {
            "drain": ("is drained", f"undrain {address}"),
            "weight": (f"has weight {before['weight']}", f"weight {address} none"),
        }[half]
        raise Refused(
            409,
            f"{address} {what} {end}, and an address has one order with one end:"
            f" leave out --for, or end that first with `{undo}`",
        )

    def _wait(self) -> int:
        """Wait until a node is drained; not for one that is down from the start."""
        end = monotonic() + self._given.timeout
        shown, wait = "", 0
        while True:
            query = {"wait": "drained", "timeout": wait}
            node = self._router.get(node_path(self._given.address), query, wait)
            if node["drained"]:
                return self._done(node, "drained: safe to delete")
            why = node["waits_for"]
            if not shown and node["state"] == "down":
                self._done(node, f"not drained: {why}; nobody knows what jobs it has")
                return _REFUSED
            if monotonic() >= end:
                self._done(node, f"not drained within {self._given.timeout} s: {why}")
                return _REFUSED
            if why != shown:
                _tell(f"waiting: {why}")
            shown, wait = why, max(0, ceil(min(_LOOK, end - monotonic())))

    def _why_and_how_long(self, given: argparse.Namespace) -> dict[str, Any]:
        """What was given of the reason and the time of an order."""
        values = {"reason": given.reason, "for": given.duration}
        return {name: value for name, value in values.items() if value is not None}

    def _done(self, content: object, words: str) -> int:
        """Say what was done, in words or in JSON."""
        if self._given.json:
            print_json(content, self._out)
        else:
            print(text_of(words), file=self._out)
        return 0

    def _show(self, content: object, names: Sequence[str], rows: Any) -> int:
        """Show a table, or the JSON that it was made of."""
        if self._given.json:
            print_json(content, self._out)
        else:
            print_table(names, rows, self._out)
        return 0


def _order(override: Mapping[str, Any]) -> str:
    """What an override orders, in a few words."""
    weight = override["weight"]
    words = ["drain"] if override["drain"] else []
    return " ".join(words if weight is None else [*words, f"weight={weight:g}"])


def _what(override: Mapping[str, Any]) -> str:
    """What an override orders, who by, why, and until when."""
    until = f" until {override['until']}" if override["until"] else ""
    reason = f" ({override['reason']})" if override["reason"] else ""
    kept = "" if override["persisted"] else "; it ends when the router restarts, without --state"
    return f"{_order(override)}{until} by {override['by']}{reason}{kept}"


def _why(node: Mapping[str, Any]) -> str:
    """Why a node is as it is: its reason, why it is in doubt, and who drained it."""
    override, words = node["override"], [node["reason"]] if node["reason"] else []
    if node["in_doubt"]:
        words.append(f"in doubt: {node['in_doubt']}")
    if override and override["drain"]:
        why = f": {override['reason']}" if override["reason"] else ""
        words.append(f"drained by {override['by']} at {override['given']}{why}")
    return "; ".join(words)


def _pairs(values: Mapping[str, Any]) -> str:
    """Names and values on one line."""
    return " ".join(f"{name}={text_of(value)}" for name, value in values.items())


def _kept(override: Mapping[str, Any]) -> dict[str, Any]:
    """The reason and the time that are left of an override, for the one that takes its place."""
    kept = {"reason": override["reason"]}
    if override["until"]:
        left = datetime.fromisoformat(override["until"]) - datetime.now(UTC)
        kept["for"] = f"{max(1, ceil(left.total_seconds()))}s"
    return kept


def main(
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    out: IO[str] | None = None,
) -> NoReturn:
    """
    Do what the arguments say, by default those of the command line.

    :raises SystemExit: always, with the exit code.
    """
    given = parse(arguments)
    url = given.url or environ.get(URL) or DEFAULT_URL
    out = out or sys.stdout
    try:
        commands = _Commands(Router(url, find_token(given.token_file, environ)), given, out)
        code: int = getattr(commands, given.command)()
        out.flush()
    except (BadArguments, BadUrl) as error:
        code = _fail(_USAGE, error)
    except Refused as error:
        code = _fail(_USAGE if error.status == 400 else _REFUSED, error)
    except CannotReach as error:
        code = _fail(_UNREACHABLE, error)
    except BrokenPipeError:  # what reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    raise SystemExit(code)


def _fail(code: int, error: Exception) -> int:
    _tell(error)
    return code


def _tell(words: object) -> None:
    """Tell the operator something that is no result."""
    print(f"infernet-router-ctl: {text_of(words)}", file=sys.stderr)
