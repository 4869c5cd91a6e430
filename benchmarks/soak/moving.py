"""Host names of nodes in a soak test, which move to another host while the old one lives on."""

import asyncio
from array import array
from pathlib import Path
from random import Random

from attrs import define

from benchmarks.soak.flapping import Node
from benchmarks.soak.record import Record

NAMES = 10
_RUNNING = (("llm", "prover"), ("painter",))
"""What the two hosts of a name run: nothing in common, so that a report of the wrong one shows."""


@define
class _Name:
    """A host name that leads to one of two nodes."""

    name: str
    hosts: tuple[Node, Node]
    """The nodes; the first is where the name leads."""
    due: float
    """When it moves next."""
    moved: float | None = None
    """When it moved; None once the router has followed."""
    polls: int = 0
    """How often the node that it leads to had been polled before it moved there."""


class MovingNames:
    """
    Names that move to another host, and again some time after the router has followed.

    :param path: the file of names for the router, in the format of /etc/hosts.
    """

    def __init__(self, path: Path, port: int, record: Record, random: Random) -> None:
        self._path = path
        self._port = port
        self._record = record
        self._random = random
        self._names = [
            _Name(
                f"moving-{n}.invalid",
                (self._node(f"127.2.{n}.1", 0), self._node(f"127.2.{n}.2", 1)),
                record.now + random.uniform(0.0, 5.0),
            )
            for n in range(1, NAMES + 1)
        ]
        self.hosts = [node for name in self._names for node in name.hosts]
        self.addresses = [f"{name.name}:{port}" for name in self._names]
        self._took = array("d")
        record.moving.update(self.addresses)
        for name in self._names:
            self._offer(name)
        self._write()

    @property
    def took(self) -> list[float]:
        """For each move, the seconds until the router polled the new host, or until now."""
        waiting = (name.moved for name in self._names if name.moved is not None)
        return [*self._took, *(self._record.now - moved for moved in waiting)]

    async def keep_moving(self) -> None:
        """Move the names until cancelled."""
        while True:
            await asyncio.sleep(0.2)
            self.move()

    def move(self) -> None:
        """Move the names that are due, and note which of the others the router has followed."""
        for name in self._names:
            self._look(name)

    def _look(self, name: _Name) -> None:
        """Note whether the router has followed a name; move it when it is time."""
        now = self._record.now
        if name.moved is not None:
            if name.hosts[0].polls > name.polls:
                self._took.append(now - name.moved)
                name.moved, name.due = None, now + self._random.uniform(5.0, 15.0)
        elif now >= name.due:
            name.hosts = name.hosts[::-1]
            name.moved, name.polls = now, name.hosts[0].polls
            self._write()
            self._offer(name)

    def _node(self, host: str, kind: int) -> Node:
        return Node(
            host, self._port, self._record, self._random, steady=True, containers=_RUNNING[kind]
        )

    def _offer(self, name: _Name) -> None:
        """Record what the node runs to which a name leads now."""
        offered = frozenset(name.hosts[0].containers)
        self._record.offers(f"{name.name}:{self._port}", offered, self._record.now)

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{name.hosts[0].host} {name.name}\n" for name in self._names))
        new.replace(self._path)
