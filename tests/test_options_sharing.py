"""Tests of the options of routers that share a fleet or a port."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import infernet_router.options
from infernet_router.options import CannotStart
from infernet_router.replicas.redis_url import RedisUrl
from tests.test_options import parsed


class SharingOptionsTests(SynchronousTestCase):
    def assert_bad(self, reason: str, *flags: str, **environ: str) -> None:
        """These options are refused with this reason."""
        with self.assertRaises(CannotStart) as caught:
            parsed(*flags, **environ)
        self.assertEqual(caught.exception.code, f"infernet-router: {reason}")

    def test_redis(self) -> None:
        """The URL of Redis is an option or a variable; a REDIS_URL of something else is none."""
        url = RedisUrl("a", user="u", password="secret")
        self.assertEqual(parsed("--redis", "redis://u:secret@a").redis, url)
        settings = parsed(
            *("--redis-ca-file=ca.pem", "--redis-prefix", "a.B-1:_"),
            INFERNET_ROUTER_REDIS="rediss://u:secret@a",
        )
        self.assertEqual(settings.redis, RedisUrl("a", user="u", password="secret", tls=True))
        self.assertEqual(settings.redis_ca_file, Path("ca.pem"))
        self.assertEqual(settings.redis_prefix, "a.B-1:_")
        self.assertIsNone(parsed(REDIS_URL="redis://a").redis)

    def test_bad_redis(self) -> None:
        """A bad URL is refused, and not shown, as it may have a password."""
        for bad in ("redis://secret@a", "secret"):
            for flags, environ, source in (
                (["--redis", bad], {}, "--redis"),
                ([], {"INFERNET_ROUTER_REDIS": bad}, "INFERNET_ROUTER_REDIS"),
            ):
                with self.assertRaises(CannotStart) as caught:
                    parsed(*flags, **environ)
                text = str(caught.exception.code)
                self.assertTrue(text.startswith(f"infernet-router: {source} must "), text)
                self.assertNotIn("secret", text)
        for prefix in ("", "a b", "a*", "\u00e4", "x" * 101):
            self.assert_bad(
                f"--redis-prefix must have 1 to 100 letters, digits and . _ - :, not {prefix!r}",
                "--redis-prefix",
                prefix,
            )
        self.assert_bad(
            "--redis-ca-file is for rediss:// URLs, and --redis has another",
            *("--redis=redis://a", "--redis-ca-file=a"),
        )
        for option in ("--redis-ca-file", "--redis-prefix"):
            self.assert_bad(f"{option} is for --redis, which is not given", option, "a")
        self.assert_bad(
            "--redis-prefix is for --redis, which is not given", INFERNET_ROUTER_REDIS_PREFIX="a"
        )

    def test_no_client(self) -> None:
        """Without the packages for Redis, the reason says how to install them."""
        self.patch(infernet_router.options, "find_spec", lambda name: None)
        self.assert_bad(
            "--redis needs txredisapi and hiredis: install the extra redis",
            "--redis=redis://a",
        )
        self.assertIsNone(parsed().redis)

    def test_reuse_port(self) -> None:
        """A port is shared by a flag, or by 1 in the variable; only TCP ports can be."""
        self.assertTrue(parsed("--reuse-port").reuse_port)
        self.assertTrue(parsed(INFERNET_ROUTER_REUSE_PORT="1").reuse_port)
        for off in ("0", ""):
            self.assertFalse(parsed(INFERNET_ROUTER_REUSE_PORT=off).reuse_port)
        self.assertTrue(parsed("--reuse-port", INFERNET_ROUTER_REUSE_PORT="0").reuse_port)
        self.assert_bad(
            "INFERNET_ROUTER_REUSE_PORT must be yes or no, not '2'",
            INFERNET_ROUTER_REUSE_PORT="2",
        )
        for endpoint in ("tcp:1", "tcp6:1", "haproxy:tcp:1"):
            listens = ("--listen", endpoint, "--listen", "unix:/r")
            self.assertTrue(parsed("--reuse-port", *listens).reuse_port)
        for endpoint in ("unix:/r", "ssl:1", "systemd:domain=INET:index=0"):
            self.assert_bad(
                "--reuse-port is for --port, and tcp: and tcp6: endpoints",
                *("--reuse-port", "--listen", endpoint),
            )
