"""Tests of infernet_router.serving.unix_sockets."""

import grp
import os
import pwd
import socket
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NoReturn

from twisted.internet import reactor as installed_reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from infernet_router.serving import unix_sockets
from infernet_router.serving.listening import CannotServe, Server
from infernet_router.serving.site import ClosableSite
from infernet_router.serving.unix_sockets import (
    Occupied,
    remove_stale,
    who_can_connect,
    with_mode,
)

reactor: Any = installed_reactor


class WithModeTests(SynchronousTestCase):
    def test_mode(self) -> None:
        """A Unix socket has mode 660 unless its description says otherwise."""
        for endpoint, expected in (
            ("unix:/run/a.sock", "unix:/run/a.sock:mode=660"),
            ("unix:/run/a.sock:backlog=7", "unix:/run/a.sock:backlog=7:mode=660"),
            ("unix:/run/a\\:mode=666", "unix:/run/a\\:mode=666:mode=660"),
            ("haproxy:unix:/run/a.sock", "haproxy:unix:/run/a.sock:mode=660"),
            ("unix:/run/a.sock:mode=666", None),
            ("unix:/run/a.sock:lockfile=0:mode=666", None),
            ("unix:/run/a.sock:600", None),
            ("tcp:4000", None),
            ("systemd:domain=UNIX:index=0", None),
        ):
            self.assertEqual(with_mode(endpoint), expected or endpoint)

    def test_bad(self) -> None:
        """A mode is an octal number."""
        for mode in ("999", "", "rw", "0o660", "-1", "77777", "+66"):
            with self.assertRaises(ValueError) as caught:
                with_mode(f"unix:/run/a.sock:mode={mode}")
            self.assertEqual(
                str(caught.exception), f"the mode must be an octal number such as 660, not '{mode}'"
            )


class SocketTestCase(TestCase):
    """Base class: has a short path, as that of a socket must be."""

    def setUp(self) -> None:
        folder = Path(mkdtemp())
        self.addCleanup(folder.rmdir)
        self.path = folder / "a:b"
        self.lock = folder / "a:b.lock"
        self.endpoint = f"unix:{str(self.path).replace(':', chr(92) + ':')}"
        for path in (self.path, self.lock):
            self.addCleanup(path.unlink, missing_ok=True)

    def bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX)
        self.addCleanup(bound.close)
        bound.bind(str(self.path))
        return bound


class RemoveStaleTests(SocketTestCase):
    def test_stale(self) -> None:
        """A socket that nobody listens to is removed, with a lock whose number was given anew."""
        self.bind().close()
        self.lock.symlink_to(str(os.getpid()))
        remove_stale(self.endpoint)
        self.assertFalse(self.path.exists() or self.lock.is_symlink())
        self.lock.symlink_to(str(os.getpid()))
        remove_stale(self.endpoint)
        self.assertFalse(self.lock.is_symlink())

    def test_used(self) -> None:
        """A socket that a process listens to stays, also when it has no time."""
        bound = self.bind()
        bound.listen(0)
        for _ in range(3):
            with self.assertRaises(Occupied) as caught:
                remove_stale(self.endpoint)
            self.assertEqual(str(caught.exception), "another process listens there")
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.setblocking(False)
            client.connect_ex(str(self.path))
        self.assertTrue(self.path.exists())

    def test_file(self) -> None:
        """A file that is no socket stays."""
        self.path.write_text("")
        with self.assertRaises(Occupied) as caught:
            remove_stale(self.endpoint)
        self.assertEqual(str(caught.exception), f"{self.path} is there, and is not a socket")
        self.assertTrue(self.path.exists())

    def test_none(self) -> None:
        """Without a file, and for other endpoints, nothing happens."""
        remove_stale(self.endpoint)
        remove_stale("tcp:4000")


class WhoCanConnectTests(SocketTestCase):
    def test_words(self) -> None:
        """Those who have the right to write can connect."""
        self.bind()
        owner = f"owner {pwd.getpwuid(os.getuid()).pw_name}"
        group = f"group {grp.getgrgid(self.path.stat().st_gid).gr_name}"
        for mode, words in (
            (0o660, f"{owner} and {group} can connect"),
            (0o755, f"{owner} can connect"),
            (0o606, f"{owner} and all others can connect"),
            (0o666, "everyone can connect"),
            (0o444, "only root can connect"),
        ):
            self.path.chmod(mode)
            self.assertEqual(who_can_connect(self.path), words)

    def test_numbers(self) -> None:
        """Users and groups without a name have a number."""
        self.bind()
        self.path.chmod(0o660)

        def nobody(_: int) -> NoReturn:
            raise KeyError

        self.patch(unix_sockets, "getpwuid", nobody)
        self.patch(unix_sockets, "getgrgid", nobody)
        status = self.path.stat()
        self.assertEqual(
            who_can_connect(self.path),
            f"owner {status.st_uid} and group {status.st_gid} can connect",
        )

    def test_unknown(self) -> None:
        """Nothing is said of a socket that has no file."""
        self.assertEqual(who_can_connect(Path("\0abstract")), "")
        self.assertEqual(who_can_connect(self.path), "")


class ServerTests(SocketTestCase):
    async def test_listens(self) -> None:
        """Whatever the umask is, the socket has mode 660; it is removed at the end."""
        for umask in (0, 0o777):
            before = os.umask(umask)
            try:
                server = Server(ClosableSite(Resource(), reactor, 100), [self.endpoint], reactor)
                server.privilegedStartService()
            finally:
                os.umask(before)
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o660)
            server.startService()
            second = Server(ClosableSite(Resource(), reactor, 100), [self.endpoint], reactor)
            with self.assertRaises(CannotServe) as caught:
                second.privilegedStartService()
            self.assertIn("another process listens there", str(caught.exception))
            await server.stopService()
            self.assertFalse(self.path.exists() or self.lock.is_symlink())

    def test_no_lock(self) -> None:
        """When the socket cannot be made, no lock is left behind."""
        endpoint = f"unix:{self.path.parent / ('x' * 107)}"
        site = ClosableSite(Resource(), reactor, 100)
        self.addCleanup(site.doStop)  # Twisted has started it by then
        server = Server(site, [endpoint], reactor)
        with self.assertRaises(CannotServe) as caught:
            server.privilegedStartService()
        self.assertIn("too long", str(caught.exception))
        self.assertEqual(list(self.path.parent.iterdir()), [])
