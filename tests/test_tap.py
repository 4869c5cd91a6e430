"""Tests of infernet_router.tap."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import Application, IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, Logger, capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

from infernet_router import __version__
from infernet_router.options import CannotStart, Options
from infernet_router.tap import make_router, makeService
from tests.case import RouterTestCase
from tests.doubles import DeafReactor


class MakeRouterTests(RouterTestCase):
    def test_runs(self) -> None:
        """A router listens on its port, and polls every node in the file."""
        router = self.start(port=4001)
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [4001])
        self.assertEqual(
            sorted(client[:2] for client in self.reactor.tcpClients),
            [("192.0.2.1", 4000), ("192.0.2.2", 443)],
        )
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

    def test_other_user(self) -> None:
        """When twistd changed to a user who may not write the state, the start ends with that."""
        state = Path(self.mktemp()).absolute()
        router = make_router(evolve(self.settings, state=state), self.reactor)
        self.patch(os, "access", lambda *_, **__: False)
        with self.assertRaises(CannotStart) as caught:
            router.startService()
        self.assertEqual(
            caught.exception.code,
            f"infernet-router: cannot use {state} as the state directory: the router's user may"
            " not write there",
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

    def test_unknown_variables(self) -> None:
        """The log warns of a variable that is misspelt, also when the start then fails."""
        known = {"INFERNET_ROUTER_MAX_POLLS": "7", "INFERNET_ROUTER_URL": "http://127.0.0.1:4001"}
        options = Options({"INFERNET_ROUTER_IP": "/nowhere/secret", **known})
        options.parseOptions(["--ips=/nowhere/ips.txt"])
        with capturedLogs() as events, self.assertRaises(CannotStart):
            makeService(options, MemoryReactorClock())
        lines = [formatEvent(event) for event in events]
        hint = (
            "INFERNET_ROUTER_IP is not a variable of the router (did you mean INFERNET_ROUTER_IPS?)"
        )
        self.assertEqual([line for line in lines if "variable" in line], [hint])

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
