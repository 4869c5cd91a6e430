"""Tests of several routers, started by twistd, that share one fleet through a real Redis."""

import json
import re
import signal
import time
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.loopback.redis_server import Redis
from tests.integration.programs import TROUBLE, Node, Router, until

ADMIN = "tcp:0:interface=127.0.0.1"
TOKEN = "t" * 32
CHANNEL = "infernet-router:1"
STATES = re.compile(r"replicas\.(?:alone|sharing)")


class Replica(Router):
    """One of several routers, with an endpoint for operators; its log is JSON."""

    def __init__(self, test: SynchronousTestCase, folder: Path, url: str, *flags: str) -> None:
        folder.mkdir()
        variables = {"INFERNET_ROUTER_REDIS": url, "INFERNET_ROUTER_ADMIN_TOKEN": TOKEN}
        flags = ("--ips", "../ips.txt", "--admin", ADMIN, "--log-format", "json", *flags)
        super().__init__(test, folder, *flags, variables=variables)

    def events(self, *names: str) -> list[str]:
        """The sentences of its log with one of these events, or that begin with it."""
        lines = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line["msg"] for line in lines if line["event"].startswith(names)]

    @property
    def port(self) -> int:
        return int(until(lambda: self._port(""), "listening"))

    @property
    def admin(self) -> int:
        return int(until(lambda: self._port(" for operators"), "listening for operators"))

    def _port(self, purpose: str) -> str:
        found = (
            re.fullmatch(rf"listening on \S+:(\d+){purpose}", s) for s in self.events("listen")
        )
        return next((match[1] for match in found if match), "")

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """What it answers operators, decoded."""
        connection = HTTPConnection("127.0.0.1", self.admin, timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            text = response.read().decode()
            return json.loads(text) if text.startswith("{") else text
        finally:
            connection.close()

    @property
    def members(self) -> int:
        """How many routers share, as it sees them; 0 while it is alone."""
        replicas = self.ask("/admin/v1/overview")["replicas"]
        return 0 if replicas["alone"] else int(replicas["members"])

    def states(self) -> dict[str, int]:
        """How many of its nodes are in each state."""
        nodes = self.ask("/admin/v1/nodes?limit=1000")["nodes"]
        found = [node["state"] for node in nodes]
        return {state: found.count(state) for state in set(found)}

    def metric(self, name: str) -> float:
        """The sum of a metric."""
        found = re.findall(rf"^infernet_router_{name}\S* (\S+)$", self.ask("/metrics"), re.M)
        return sum(map(float, found))


class Clients:
    """Ask replicas for a node, one after the other, all the time; the nodes never fail."""

    def __init__(self, replicas: Iterable[Replica]) -> None:
        self.ports = [replica.port for replica in replicas]
        self.asked = 0
        self.problems: list[str] = []
        self._end = Event()
        self._thread = Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._end.is_set():
            for port in self.ports:
                self.asked += 1
                connection = HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request("GET", "/api/v1/ip?container=llm")
                    response = connection.getresponse()
                    if response.status != 200:
                        self.problems.append(response.read().decode())
                except OSError as problem:
                    if port in self.ports:
                        self.problems.append(repr(problem))
                finally:
                    connection.close()
            time.sleep(0.01)

    def leave(self, replica: Replica) -> None:
        """Ask this one no more: it is about to be stopped."""
        self.ports = [port for port in self.ports if port != replica.port]
        seen = self.asked
        until(lambda: self.asked > seen + len(self.ports), "the last request")

    def join(self, replica: Replica) -> None:
        self.ports = [*self.ports, replica.port]

    def stop(self) -> None:
        self._end.set()
        self._thread.join()


class ReplicasTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.count = 0

    def serve(self, *flags: str) -> None:
        """Start a Redis."""
        self.redis = Redis(*flags)
        self.addCleanup(self.redis.close)

    def nodes(self, count: int = 8, **knobs: object) -> list[str]:
        """Start nodes, and list them for all replicas; returns their addresses."""
        node = Node(self, self.folder, "llm", interface="", knobs=knobs)
        addresses = [f"127.0.1.{number}:{node.port}" for number in range(1, count + 1)]
        (self.folder / "ips.txt").write_text("\n".join(addresses))
        return addresses

    def start(self, *flags: str, url: str = "") -> Replica:
        self.count += 1
        return Replica(self, self.folder / str(self.count), url or self.redis.url, *flags)

    def three(self, *flags: str) -> list[Replica]:
        """Three replicas that share, and whose nodes are all up."""
        replicas = [self.start(*flags) for _ in range(3)]
        self.assert_members(replicas)
        for replica in replicas:
            until(lambda one=replica: one.states() == {"up": 8}, "all up")  # type: ignore[misc]
        return replicas

    def clients(self, replicas: Iterable[Replica]) -> Clients:
        clients = Clients(replicas)
        self.addCleanup(clients.stop)
        return clients

    def assert_members(self, replicas: list[Replica]) -> None:
        """Each of them sees all of them."""
        for replica in replicas:
            until(
                lambda one=replica: one.members == len(replicas),  # type: ignore[misc]
                f"sharing of {len(replicas)}: {replica.output()}",
            )

    def assert_alone(self, replicas: list[Replica]) -> None:
        for replica in replicas:
            until(lambda one=replica: one.members == 0, "alone")  # type: ignore[misc]

    def assert_well(self, replicas: list[Replica], clients: Clients) -> None:
        """No request failed, no node was wrongly down, and no log has a traceback."""
        seen = clients.asked
        until(lambda: clients.asked > seen + 20, "more requests")
        self.assertEqual(clients.problems, [])
        for replica in replicas:
            self.assertEqual(replica.events("node.down"), [])
            # One router's miss makes a node a suspect until another router has asked it.
            until(lambda one=replica: one.states() == {"up": 8}, "all up")  # type: ignore[misc]
            self.assertIsNone(TROUBLE.search(replica.output()), replica.output())

    def test_members(self) -> None:
        """Members may be killed, stop and join; all together poll as one."""
        self.serve()
        self.nodes()
        replicas = self.three("--interval", "1")
        clients = self.clients(replicas)
        killed, stopped, left = replicas
        clients.leave(killed)
        killed.signal(signal.SIGKILL)
        self.assert_members([stopped, left])
        clients.leave(stopped)
        stopped.signal(signal.SIGTERM)
        until(lambda: left.members == 1, "bye")
        stopped.ended()
        self.assert_well([left], clients)
        self.assertEqual(len(left.events("replicas.left")), 2)
        new = self.start()
        clients.join(new)
        self.assert_members([left, new])
        self.assert_well([left, new], clients)
        self.assertEqual(left.events("replicas.alone"), [])
        self.assertEqual(new.events("replicas.alone"), [])

    def test_redis_away(self) -> None:
        """Without Redis each goes on alone; they share again when it is back, though empty."""
        self.serve()
        addresses = self.nodes()
        replicas = self.three("--interval", "1")
        clients = self.clients(replicas)
        path = f"/admin/v1/nodes/{addresses[0]}/override"
        replicas[0].ask(path, "PUT", {"weight": 2, "reason": "new"})
        for replica in replicas:
            self.assert_weight(replica, addresses[0], 2)
        self.redis.kill()
        self.assert_alone(replicas)
        self.assert_well(replicas, clients)
        path = f"/admin/v1/nodes/{addresses[1]}/override"
        replicas[1].ask(path, "PUT", {"weight": 3, "reason": "given while Redis was away"})
        self.redis.start()
        self.assert_members(replicas)
        for replica in replicas:
            self.assert_weight(replica, addresses[1], 3)
        until(lambda: b":1" in self.redis.ask("EXISTS", "infernet-router:overrides"), "overrides")
        self.redis.ask("FLUSHALL")
        new = self.start()
        self.assert_weight(new, addresses[0], 2)
        self.assert_members([*replicas, new])
        self.redis.signal(signal.SIGSTOP)
        self.assert_alone([*replicas, new])
        self.redis.signal(signal.SIGCONT)
        self.assert_members([*replicas, new])
        self.assert_well([*replicas, new], clients)
        for replica in replicas:
            self.assertEqual(len(replica.events("replicas.sharing")), 3)
            alone = replica.events("replicas.alone")
            self.assertLessEqual(len(alone), 4, alone)
            for why in ("connection refused", "no reply of Redis within 2 s"):
                self.assertTrue(any(line.endswith(why) for line in alone), alone)

    def assert_weight(self, replica: Replica, address: str, weight: float) -> None:
        """A replica knows the weight that an operator gave to a node."""
        path = f"/admin/v1/nodes/{address}"
        until(lambda: replica.ask(path)["weight"] == weight, f"the weight {weight}")

    def test_refused(self) -> None:
        """Who has a wrong password, or may not publish, is alone until that changes."""
        self.serve("--user", *["few", "on", ">pw", "&*", "~*", "+@all", "-publish"])
        self.nodes()
        url = f"unix://few:%s@{self.redis.socket}"
        replicas = [self.start(url=url % password) for password in ("bad", "pw")]
        clients = self.clients(replicas)
        for replica, why in zip(replicas, ("AUTH: 'WRONGPASS", 'PUBLISH: "NOPERM'), strict=True):
            until(lambda one=replica: one.events("replicas.alone"), "alone")  # type: ignore[misc]
            self.assertIn(f"Redis refuses {why}", replica.events("replicas.alone")[0])
            self.assertNotIn("few:", replica.output().replace("few:(hidden)", ""))
        self.redis.ask("ACL", "SETUSER", "few", ">bad", "+publish")
        self.assert_members(replicas)
        self.assert_well(replicas, clients)
        for replica in replicas:
            self.assertEqual(len(replica.events("replicas.alone")), 1)
            self.assertEqual(len(replica.events("replicas.sharing")), 1)

    def test_garbage(self) -> None:
        """Messages that are no batches, however large, change nothing, and are said once."""
        self.serve()
        self.nodes()
        replicas = self.three()
        clients = self.clients(replicas)
        before = [replica.memory()["VmRSS"] for replica in replicas]
        malformed = 'replicas_batches_total{result="malformed"'
        large = b"\x81" + b"\xa1x" * 1_000_000
        messages = (b"", b"garbage", b"\xff" * 64, b"\x00", b"\x93" * 100_000, b"{}", b"1")
        for number, message in enumerate((*messages, *[large] * 50), 1):
            self.redis.ask("PUBLISH", CHANNEL, message)
            for one in replicas:  # Redis disconnects who has 32 MB yet to read
                until(lambda one=one: one.metric(malformed) == number, "refused")  # type: ignore[misc]  # noqa: B023
        self.assert_members(replicas)
        self.assert_well(replicas, clients)
        for replica, memory in zip(replicas, before, strict=True):
            self.assertEqual(len(replica.events("replicas.malformed")), 1)
            self.assertLess(replica.memory()["VmRSS"], memory + (32 << 20))

    def test_lists(self) -> None:
        """Replicas whose lists differ share the nodes that they have in common."""
        self.serve()
        addresses = self.nodes(12)
        replicas = []
        for number, some in enumerate((addresses[:8], addresses[4:])):
            (self.folder / f"{number}.txt").write_text("\n".join(some))
            replicas.append(self.start("--ips", f"../{number}.txt", "--interval", "1"))
        clients = self.clients(replicas)
        self.assert_members(replicas)
        for replica in replicas:
            before = replica.metric("polls_total")
            until(lambda: replica.metric("polls_total") > before + 20, "polls")  # noqa: B023
        self.assert_well(replicas, clients)

    def test_unreachable(self) -> None:
        """A replica that reaches no node hears from the others that they are up."""
        for hangs in (False, True):
            self.serve()
            self.nodes(key="1", hangs=hangs)
            flags = ("--interval", "1", "--timeout", "0.5")
            replicas = [self.start(*flags, "--node-header", "X-Key: 1") for _ in range(2)]
            self.assert_members(replicas)
            clients = self.clients(replicas)
            for replica in replicas:
                until(lambda one=replica: one.states() == {"up": 8}, "up")  # type: ignore[misc]
            blind = self.start(*flags)
            self.assert_members([*replicas, blind])
            until(lambda: blind.states() == {"up": 8}, "up though it reaches none")  # noqa: B023
            failed = blind.metric("polls_total")
            self.assertGreater(failed, 0)
            clients.join(blind)
            self.assert_well(replicas, clients)
            until(lambda: blind.states() == {"up": 8}, "up though it reaches none")  # noqa: B023
            clients.stop()
            for replica in [*replicas, blind]:
                replica.kill()

    def test_paused(self) -> None:
        """A replica that stood still shares again, and what it heard late harms nothing."""
        self.serve()
        self.nodes()
        replicas = self.three("--interval", "1")
        clients = self.clients(replicas)
        paused, *others = replicas
        clients.leave(paused)
        paused.signal(signal.SIGSTOP)
        self.assert_members(others)
        seen = others[0].metric("replicas_batches_total")
        until(lambda: others[0].metric("replicas_batches_total") > seen + 20, "batches")
        paused.signal(signal.SIGCONT)
        clients.join(paused)
        self.assert_members(replicas)
        self.assert_well(replicas, clients)

    def test_outcomes(self) -> None:
        """An outcome may be told to any member."""
        self.serve()
        self.nodes()
        one, other, _ = self.three()
        connection = HTTPConnection("127.0.0.1", one.port, timeout=60)
        connection.request("GET", "/api/v1/ip?container=llm")
        decision = connection.getresponse().headers["Infernet-Decision"]
        path = f"/api/v1/outcomes?outcome=failed&decision={decision}"
        self.assertEqual(other.get(path, "POST")[0], 204)
        unknown = "0" * 16 + decision[16:]
        self.assertEqual(other.get(path.replace(decision, unknown), "POST")[0], 404)
        self.assertEqual(other.metric("outcomes_total"), 1)
        before = one.metric("replicas_batches_total")
        until(lambda: one.metric("replicas_batches_total") > before + 10, "batches")
        self.assertEqual(one.get(path, "POST")[0], 409)

    def test_drained(self) -> None:
        """When one router says that an idle node is drained, no other hands it out any more."""
        self.serve()
        node, *others = self.nodes()
        one, *rest = self.three("--interval", "1")
        exclude = "".join(f"&exclude={other}" for other in others)
        path = f"/admin/v1/nodes/{node}"
        until(lambda: one.ask(path)["pending"] == 0, "a report")
        one.ask(f"{path}/override", "PUT", {"drain": True})
        waited = one.ask(f"{path}?wait=drained&timeout=50")
        answers = [replica.get(f"/api/v1/ip?container=llm{exclude}")[0] for replica in rest]
        self.assertTrue(waited["drained"], waited["waits_for"])
        self.assertEqual(answers, [503, 503])


class ReusePortTests(SynchronousTestCase):
    def test_reuse_port(self) -> None:
        """Two routers serve one port; when one ends, the other goes on."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "ips.txt").write_text("127.0.0.1:1")
        flags = ("--reuse-port", "--listen")
        first = Router(self, folder, *flags, "tcp:0:interface=127.0.0.1")
        endpoint = f"tcp:{first.port}:interface=127.0.0.1"
        second = Router(self, folder, *flags, endpoint)
        self.assertEqual(second.port, first.port)
        self.assertIn("--reuse-port without --redis", first.output())
        self.assertEqual(first.get("/livez")[0], 200)
        first.signal(signal.SIGTERM)
        first.ended()
        for _ in range(10):
            self.assertEqual(second.get("/livez")[0], 200)
        alone = Router(self, folder, "--listen", endpoint)
        self.assertEqual(alone.ended(), 1)
        self.assertIn("Address already in use", alone.output())
