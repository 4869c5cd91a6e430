"""Tests of infernet_router.assembly."""

import os
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket
from typing import Any
from unittest.mock import patch

from twisted.logger import capturedLogs, formatEvent

from infernet_router.addresses import parse_address
from infernet_router.fleet import Fleet, Tier
from infernet_router.options import CannotStart
from infernet_router.tap import make_router
from tests.case import RouterTestCase
from tests.doubles import DeafReactor, report


class AssemblyTests(RouterTestCase):
    def test_guarded(self) -> None:
        """The API is behind the rate limit and CORS if these are set, and served in any case."""
        for changes in ({"rate_limit": 60}, {"cors_origin": ("*",)}, {}):
            router = self.start(**changes)
            self.assertEqual(len(self.reactor.tcpServers), 1)
            self.reactor.tcpServers.clear()
            self.assert_ends(router)

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

    def test_systemd(self) -> None:
        """systemd is told how many nodes are up where it waits for that, and that the end comes."""
        name = f"infernet-router-test-tap-{os.getpid()}"
        systemd = socket(AF_UNIX, SOCK_DGRAM)
        self.addCleanup(systemd.close)
        systemd.bind(f"\0{name}")
        systemd.settimeout(10)
        fleets: list[Fleet] = []

        def make_fleet(*arguments: Any) -> Fleet:
            fleets.append(Fleet(*arguments))
            return fleets[0]

        with patch.dict(os.environ, NOTIFY_SOCKET=f"@{name}"):
            router: Any = make_router(self.settings, self.reactor, make_fleet)
        router.privilegedStartService()
        router.startService()
        self.reactor.advance(1)
        self.assertIn(b"STATUS=0 of 2 nodes up", systemd.recv(1000))
        address = parse_address("192.0.2.1:4000")
        fleets[0].observed(address, report("llm"))
        fleets[0].override(address, Tier.DRAINED)
        self.reactor.advance(1)
        self.assertIn(b"STATUS=1 of 2 nodes up, 1 of them drained", systemd.recv(1000))
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
