"""Tests of infernet_router.tap."""

import os
import signal
import sys
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Any, cast
from unittest.mock import patch

from attrs import evolve
from twisted.application.service import Application, IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import __version__
from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet
from infernet_router.options import CannotStart, Options
from infernet_router.settings import Settings
from infernet_router.tap import make_router, makeService
from tests.doubles import DeafReactor


class MakeRouterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = cast(Any, MemoryReactorClock())
        self.reactor.callFromThread = lambda *_: None  # files are looked at in threads
        self.ips = Path(self.mktemp()).absolute()
        self.ips.write_text("192.0.2.1:4000\nhttps://192.0.2.2\n")
        self.settings = Settings(ips=self.ips, admin=None)

    def start(self, **changes: Any) -> Any:
        """A running router, with these settings changed."""
        router: Any = make_router(evolve(self.settings, **changes), self.reactor)
        router.privilegedStartService()
        router.startService()
        return router

    def assert_ends(self, router: Any) -> None:
        """The router can be stopped, and leaves no delayed calls."""
        self.successResultOf(router.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def assert_bad(self, reason: str, **changes: Any) -> None:
        """The router cannot be made, for this reason."""
        with self.assertRaises(CannotStart) as caught:
            make_router(evolve(self.settings, **changes), self.reactor)
        code = str(caught.exception.code)
        self.assertTrue(code.startswith(f"infernet-router: {reason}"), code)

    def test_runs(self) -> None:
        """A router listens on its port, and polls every node in the file."""
        router = self.start(port=4001)
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [4001])
        self.assertEqual(
            sorted(client[:2] for client in self.reactor.tcpClients),
            [("192.0.2.1", 4000), ("192.0.2.2", 443)],
        )
        self.assert_ends(router)

    def test_guarded(self) -> None:
        """The API is behind the rate limit and CORS if these are set, and served in any case."""
        for changes in ({"rate_limit": 60}, {"cors_origin": ("*",)}, {}):
            router = self.start(**changes)
            self.assertEqual(len(self.reactor.tcpServers), 1)
            self.reactor.tcpServers.clear()
            self.assert_ends(router)

    def test_log(self) -> None:
        """The log begins with the version and settings; a line for each listener follows."""
        with capturedLogs() as events:
            self.start(listen=("tcp:4002", "tcp6:4003"))
        lines = [formatEvent(event) for event in events]
        settings = f"ips {self.ips}, interval 3 s, busy-interval 1.1 s, timeout 3 s,"
        settings += " max-polls 500"
        self.assertEqual(lines[0], f"infernet-router {__version__}: {settings}")
        self.assertEqual(
            [line for line in lines if "listening" in line],
            ["listening on 0.0.0.0:4002", "listening on [::]:4003"],
        )

    def test_admin(self) -> None:
        """Operators and programs are served where the settings say, after clients."""
        with capturedLogs() as events:
            router = self.start(admin="tcp:4001", metrics="tcp:9", admin_given=True)
        lines = [formatEvent(event) for event in events]
        self.assertEqual(
            [line for line in lines if "listening" in line],
            [
                "listening on 0.0.0.0:4000",
                "listening on 0.0.0.0:4001 for operators",
                "listening on 0.0.0.0:9 for metrics",
            ],
        )
        self.assert_ends(router)

    def test_admin_bad(self) -> None:
        """A bad endpoint or file of tokens ends the start with the reason."""
        self.assert_bad("cannot listen on 'nonsense:1'", admin="nonsense:1")
        self.assert_bad(
            "cannot read /nowhere/t: No such file or directory", admin_tokens=Path("/nowhere/t")
        )

    def test_admin_taken(self) -> None:
        """The default endpoint may be taken, one that was named must not."""
        self.reactor = DeafReactor()
        listen = ("unix:" + self.mktemp(),)
        with capturedLogs() as events:
            router = self.start(admin="tcp:4001", listen=listen)
        taken = "cannot listen on 'tcp:4001': Address already in use; going on without it"
        self.assertIn(taken, [formatEvent(event) for event in events])
        self.assert_ends(router)
        with self.assertRaises(CannotStart):
            self.start(admin="tcp:4001", admin_given=True, listen=listen)
        with self.assertRaises(CannotStart):
            self.start(metrics="tcp:4001", listen=listen)

    def test_linger(self) -> None:
        """It goes on for a while before it stops, so that load balancers can notice."""
        router = self.start(linger=10.0)
        stopped = router.stopService()
        self.reactor.advance(9.9)
        self.assertNoResult(stopped)
        self.assertTrue(self.reactor.getDelayedCalls())
        self.reactor.advance(0.1)
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_systemd(self) -> None:
        """systemd is told how many nodes are up where it waits for that, and that the end comes."""
        name = f"infernet-router-test-tap-{os.getpid()}"
        systemd = socket(AF_UNIX, SOCK_DGRAM)
        self.addCleanup(systemd.close)
        systemd.bind(f"\0{name}")
        systemd.settimeout(10)
        with patch.dict(os.environ, NOTIFY_SOCKET=f"@{name}"):
            router = self.start()
        self.reactor.advance(1)
        self.assertIn(b"STATUS=0 of 2 nodes up", systemd.recv(1000))
        self.assert_ends(router)
        self.assertIn(b"STOPPING=1", systemd.recv(1000))

    def test_explorer(self) -> None:
        """With a Node Explorer, the file may be missing unless it was given."""
        self.ips.unlink()
        explorer = parse_address("http://192.0.2.7:81")
        router = self.start(node_explorer=explorer)
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("192.0.2.7", 81)])
        self.assert_ends(router)
        self.assert_bad(f"there is no {self.ips}", node_explorer=explorer, ips_given=True)

    def test_fleet(self) -> None:
        """The nodes are put into the fleet that `make_fleet` returns."""
        fleets: list[Fleet] = []

        def make_fleet(*arguments: Any) -> Fleet:
            fleets.append(Fleet(*arguments))
            return fleets[0]

        router: Any = make_router(self.settings, self.reactor, make_fleet)
        router.startService()
        (fleet,) = fleets
        self.assertEqual(list(map(str, fleet.addresses)), ["192.0.2.1:4000", "https://192.0.2.2"])
        self.assert_ends(router)

    def test_bad(self) -> None:
        """A router that cannot be made raises the reason."""
        self.assert_bad("cannot listen on 'nonsense:1'", listen=("nonsense:1",))
        self.assert_bad("cannot read /nowhere/ca.pem", ca_file=Path("/nowhere/ca.pem"))
        self.assert_bad(f"{self.ips} holds no PEM certificate", ca_file=self.ips)
        self.ips.write_text("a b\nc d\n")
        self.assert_bad(
            f"{self.ips}, line 1: 'a b': there is a blank inside\n"
            f"infernet-router: {self.ips}, line 2: 'c d': there is a blank inside"
        )
        self.ips.unlink()
        self.assert_bad(f"there is no {self.ips}: write the addresses")

    def test_taken(self) -> None:
        """When the port is in use, the start ends with the reason."""
        self.reactor = DeafReactor()
        with self.assertRaises(CannotStart) as caught:
            self.start()
        self.assertEqual(
            caught.exception.code,
            "infernet-router: cannot listen on 'tcp:4000': Address already in use",
        )


class MakeServiceTests(SynchronousTestCase):
    def test_options(self) -> None:
        """The router has the settings of the command line."""
        ips = Path(self.mktemp()).absolute()
        ips.write_text("192.0.2.1\n")
        options = Options({})
        options.parseOptions(["--ips", str(ips), "--port", "4002", "--admin", "none"])
        reactor: Any = MemoryReactorClock()
        router: Any = makeService(options, reactor)
        router.privilegedStartService()
        self.assertEqual([server[0] for server in reactor.tcpServers], [4002])

    def test_log(self) -> None:
        """Under twistd, the application logs without blocking, until the last line."""
        ips, log = (Path(self.mktemp()).absolute() for _ in range(2))
        ips.parent.mkdir(exist_ok=True)
        ips.write_text("192.0.2.1\n")
        for name in ("stdout", "stderr"):
            self.patch(sys, name, getattr(sys, name))
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before or signal.SIG_DFL)
        options = Options({})
        options.parent = ServerOptions()
        options.parent["logfile"] = str(log)
        options.parseOptions(["--ips", str(ips), "--port", "4001"])
        reactor: Any = MemoryReactorClock()
        router: Any = makeService(options, reactor)
        application: Any = Application("router")
        router.setServiceParent(application)
        observer = application.getComponent(ILogObserver)
        self.assertIs(observer, router.log)
        (end,) = (hook for phase in reactor.triggers["after"].values() for hook, *_ in phase)
        end()
        Logger("router", observer=observer).info("the last line")
        self.assertIn("the last line", log.read_text())

    def test_no_log(self) -> None:
        """A log that cannot be opened ends the start."""
        for name in ("stdout", "stderr"):
            self.patch(sys, name, getattr(sys, name))
        options = Options({})
        options.parent = ServerOptions()
        options.parent["logfile"] = "/nowhere/log"
        options.parseOptions([])
        reactor: Any = MemoryReactorClock()
        with self.assertRaises(CannotStart) as caught:
            makeService(options, reactor)
        self.assertEqual(
            caught.exception.code,
            "infernet-router: cannot open /nowhere/log for the log: No such file or directory",
        )


class PluginTests(SynchronousTestCase):
    def test_found(self) -> None:
        """twistd finds the plugin, and through it the options and the service."""
        plugins: Any = getPlugins(IServiceMaker)
        (plugin,) = [plugin for plugin in plugins if plugin.tapname == "infernet-router"]
        self.assertEqual((plugin.options, plugin.makeService), (Options, makeService))
