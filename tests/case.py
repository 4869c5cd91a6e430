"""A base class of test cases with a router."""

from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.options import CannotStart
from infernet_router.settings import Settings
from infernet_router.tap import make_router


class RouterTestCase(SynchronousTestCase):
    """Base class: has the settings of a router with two nodes, and starts one."""

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
