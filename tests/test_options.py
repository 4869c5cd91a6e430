"""Tests of infernet_router.options."""

import os
import sys
from ipaddress import ip_network
from pathlib import Path

from attrs import asdict
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from infernet_router.options import CannotStart, Options
from infernet_router.settings import Settings
from tests.options_case import OptionsTestCase, parsed

PORT = "must be a whole number from 1 to 65535, not"
SECONDS = "must be a number of seconds from 0.1 to 86400, not"


class OptionsTests(OptionsTestCase):
    def test_defaults(self) -> None:
        """Without options, the settings are the documented defaults."""
        settings = parsed()
        self.assertEqual(settings, Settings())
        self.assertEqual(
            asdict(settings),
            {
                "port": 4000,
                "listen": (),
                "ips": Path("ips.txt"),
                "ips_given": False,
                "wait_for_nodes": False,
                "node_explorer": None,
                "resolver": None,
                "interval": 3.0,
                "busy_interval": 1.1,
                "timeout": 3.0,
                "max_polls": 500,
                "resources_interval": 60.0,
                "max_utilization": 1.0,
                "ca_file": None,
                "node_header": (),
                "rate_limit": None,
                "idle_timeout": 75.0,
                "job_weight": {},
                "pending_weight": {},
                "trust_proxy": (),
                "cors_origin": (),
                "admin": "tcp:4001:interface=127.0.0.1",
                "admin_given": False,
                "admin_host": (),
                "admin_tokens": None,
                "admin_token": None,
                "state": None,
                "metrics": None,
                "log_format": "text",
                "log_level": "info",
                "linger": 0.0,
                "redis": None,
                "redis_ca_file": None,
                "redis_prefix": "infernet-router",
                "reuse_port": False,
            },
        )

    def test_idle_timeout(self) -> None:
        """The time that a client's connection may be idle is at least a second."""
        self.assertEqual(parsed("--idle-timeout=1").idle_timeout, 1)
        self.assertEqual(parsed(INFERNET_ROUTER_IDLE_TIMEOUT="3600.5").idle_timeout, 3600.5)
        self.assertIn("idle-timeout 1 s", str(parsed("--idle-timeout=1")))
        must = "must be a number of seconds from 1 to 86400, not"
        for text in ("0.9", "86401", "nan", "x"):
            self.assert_bad(f"--idle-timeout {must} '{text}'", f"--idle-timeout={text}")

    def test_precedence(self) -> None:
        """A flag beats its variable, which beats the default; an empty variable is ignored."""
        self.assertEqual(parsed(PORT="5000", REFRESH_INTERVAL="9.5").port, 5000)
        self.assertEqual(parsed(PORT="5000", REFRESH_INTERVAL="9.5").interval, 9.5)
        self.assertEqual(parsed("--port", "6000", PORT="5000").port, 6000)
        self.assertEqual(parsed("--port=6000", PORT="nonsense").port, 6000)
        self.assertEqual(parsed(PORT="", REFRESH_INTERVAL="").port, 4000)

    def test_variables(self) -> None:
        """Each option has a variable; it beats that of release 1.0.0, and a flag beats both."""
        self.assertEqual(parsed(INFERNET_ROUTER_PORT="5001", PORT="5000").port, 5001)
        self.assertEqual(parsed("--port=5002", INFERNET_ROUTER_PORT="x", PORT="5000").port, 5002)
        self.assertEqual(parsed(INFERNET_ROUTER_PORT="", PORT="5000").port, 5000)
        link = "tcp://10.0.0.1:4000"  # of Kubernetes, for a service named infernet-router
        self.assertEqual(parsed(INFERNET_ROUTER_PORT=link).port, 4000)
        self.assertEqual(parsed(INFERNET_ROUTER_PORT=link, PORT="5000").port, 5000)
        self.assertEqual(parsed(INFERNET_ROUTER_MAX_POLLS="7").max_polls, 7)
        self.assertTrue(parsed(INFERNET_ROUTER_IPS="a.txt").ips_given)
        many = parsed(
            INFERNET_ROUTER_TRUST_PROXY=" unix  10.0.0.0/8",
            INFERNET_ROUTER_JOB_WEIGHT="a=2 b=3",
            INFERNET_ROUTER_ADMIN_HOST="a.invalid b.invalid",
            INFERNET_ROUTER_CORS_ORIGIN="*",
        )
        self.assertEqual(many.trust_proxy, ("unix", ip_network("10.0.0.0/8")))
        self.assertEqual(many.job_weight, {"a": 2.0, "b": 3.0})
        self.assertEqual(many.admin_host, ("a.invalid", "b.invalid"))
        one = parsed("--trust-proxy=unix", INFERNET_ROUTER_TRUST_PROXY="x")
        self.assertEqual(one.trust_proxy, ("unix",))
        self.assert_bad(f"INFERNET_ROUTER_PORT {PORT} '0'", INFERNET_ROUTER_PORT="0")
        self.assert_bad(
            "INFERNET_ROUTER_JOB_WEIGHT names 'a' twice", INFERNET_ROUTER_JOB_WEIGHT="a=1 a=2"
        )

    def test_log(self) -> None:
        """The log has a format and a level."""
        settings = parsed("--log-format=json", INFERNET_ROUTER_LOG_LEVEL="warn")
        self.assertEqual((settings.log_format, settings.log_level), ("json", "warn"))
        self.assert_bad("--log-format must be one of text, json, not 'xml'", "--log-format=xml")
        self.assert_bad(
            "--log-level must be one of debug, info, warn, error, not 'WARN'", "--log-level=WARN"
        )

    def test_every_variable(self) -> None:
        """An option that may be repeated is read from its variable like any other."""
        repeatable = {
            name.removeprefix("opt_")
            for name in vars(Options)
            if name.startswith("opt_") and name != "opt_version"
        }
        values = {"job_weight": "a=1", "pending_weight": "onchain=1", "trust_proxy": "unix"}
        values |= {"cors_origin": "*", "admin_host": "a.invalid", "listen": "tcp:1"}
        values["node_header"] = "X-Key: 1"
        self.assertEqual(repeatable, set(values))
        for name, value in values.items():
            settings = parsed(**{f"INFERNET_ROUTER_{name.upper()}": value})
            self.assertTrue(getattr(settings, name), name)

    def test_listen_variables(self) -> None:
        """Flags beat variables, also where --port and --listen exclude each other."""
        both = {"INFERNET_ROUTER_LISTEN": "tcp:1 tcp6:2", "PORT": "5000"}
        self.assertEqual(parsed(**both).listen, ("tcp:1", "tcp6:2"))
        self.assertEqual(parsed("--port=3", **both).endpoints, ("tcp:3",))
        self.assertEqual(parsed("--listen=tcp:4", **both).listen, ("tcp:4",))
        settings = parsed("--listen=tcp:4", INFERNET_ROUTER_PORT="5")
        self.assertEqual(settings.listen, ("tcp:4",))
        self.assert_bad(
            "INFERNET_ROUTER_PORT and INFERNET_ROUTER_LISTEN: give one of them",
            **both,
            INFERNET_ROUTER_PORT="5",
        )

    def test_admin(self) -> None:
        """The endpoint for operators is there unless it is none; one that was named must work."""
        self.assertEqual(parsed("--admin", "none").admin, None)
        self.assertFalse(parsed("--admin", "none").admin_given)
        self.assertEqual(parsed(INFERNET_ROUTER_ADMIN="tcp:1").admin, "tcp:1")
        self.assertTrue(parsed(INFERNET_ROUTER_ADMIN="tcp:1").admin_given)
        self.assertEqual(parsed("--metrics", "tcp:9").metrics, "tcp:9")
        self.assertEqual(parsed("--linger", "0").linger, 0.0)
        self.assert_bad(
            "--linger must be a number of seconds from 0 to 3600, not '-1'", "--linger=-1"
        )
        self.assert_bad(
            "--admin must be a Twisted endpoint such as tcp:4001:interface=127.0.0.1, or none,"
            " not ''",
            "--admin=",
        )
        self.assert_bad(
            "--admin-host must be a host name such as router.example.org, not 'a:1'",
            "--admin-host=a:1",
        )

    def test_token(self) -> None:
        """The token is in the environment only, and shown nowhere."""
        settings = parsed(INFERNET_ROUTER_ADMIN_TOKEN="s3cret\n")
        self.assertEqual(settings.admin_token, "s3cret")
        for text in (str(settings), repr(settings), str(settings.shown())):
            self.assertNotIn("s3cret", text)
        self.assertEqual(settings.shown()["admin-token"], "(hidden)")
        self.assert_bad(
            "INFERNET_ROUTER_ADMIN_TOKEN: the token has characters other than letters, digits and"
            " -._~+/=",
            INFERNET_ROUTER_ADMIN_TOKEN="s3 cret",
        )

    def test_bad_flags(self) -> None:
        """An invalid value is refused; the message names the option and the valid values."""
        for text in ("0", "65536", "70000", "-1", "4000.0", "text", "", "\u0664"):
            self.assert_bad(f"--port {PORT} {text!r}", f"--port={text}")
        for text in ("0", "0.05", "nan", "inf", "-3", "86401", "1_0", "\u0664", "text", ""):
            self.assert_bad(f"--interval {SECONDS} {text!r}", f"--interval={text}")
            self.assert_bad(f"--timeout {SECONDS} {text!r}", f"--timeout={text}")
            self.assert_bad(
                f"--resources-interval {SECONDS} {text!r}", f"--resources-interval={text}"
            )
        for text in ("1.01", "90", "90%", "-0.1", "nan", "inf", "0_1", ""):
            self.assert_bad(
                f"--max-utilization must be a share from 0 to 1, not {text!r}",
                f"--max-utilization={text}",
            )
        self.assert_bad("--ips must be the path of a file, not ''", "--ips", "")
        self.assert_bad("--ca-file must be the path of a file, not 'a\\x00'", "--ca-file=a\0")

    def test_ips(self) -> None:
        """--ips names the file, which is then required, even if it has the default name."""
        settings = parsed("--ips", "ips.txt")
        self.assertEqual((settings.ips, settings.ips_given), (Path("ips.txt"), True))

    def test_bad_variables(self) -> None:
        """An invalid variable is refused; the message names it."""
        self.assert_bad(f"PORT {PORT} '70000'", PORT="70000")
        self.assert_bad(f"REFRESH_INTERVAL {SECONDS} 'nan'", REFRESH_INTERVAL="nan")
        self.assert_bad(f"REFRESH_INTERVAL {SECONDS} '0'", REFRESH_INTERVAL="0")
        self.assert_bad(f"--interval {SECONDS} '0'", "--interval=0", REFRESH_INTERVAL="0")

    def test_unknown(self) -> None:
        """Unknown options and arguments are refused, with the option that they may mean."""
        help = "see twistd infernet-router --help"
        self.assert_bad(
            f"option --prt not recognized (did you mean --port?); {help}", "--prt", "4000"
        )
        self.assert_bad(f"option --port requires argument; {help}", "--port")
        self.assert_bad(f"'4000\\n' is not an option; {help}", "4000\n", "5000")

    def test_of_twistd(self) -> None:
        """An option of twistd is refused after the name of the command."""
        options = Options({})
        options.parent = ServerOptions()
        for name in ("stdout", "stderr"):
            self.patch(sys, name, getattr(sys, name))
        with self.assertRaises(CannotStart) as caught:
            options.parseOptions(["--logfile=x"])
        self.assertIn("it is an option of twistd, which goes before", str(caught.exception))

    def test_flags(self) -> None:
        """An option without a value is yes if it is given, or what its variable says."""
        self.assertTrue(parsed("--wait-for-nodes").wait_for_nodes)
        variable = "INFERNET_ROUTER_WAIT_FOR_NODES"
        for text, value in (("yes", True), ("0", False), ("", False)):
            self.assertIs(parsed(**{variable: text}).wait_for_nodes, value)
        self.assertTrue(parsed("--wait-for-nodes", **{variable: "no"}).wait_for_nodes)
        self.assert_bad(f"{variable} must be yes or no, not 'maybe'", **{variable: "maybe"})

    def test_help(self) -> None:
        """The help has all options in groups, with their defaults, as wide as the terminal."""
        text = Options({}).getUsage(width=80)
        self.assertLess(max(map(len, text.splitlines())), 81)
        self.assertIn("\nFind the nodes:\n  --ips=FILE", text)
        words = " ".join(text.split())
        port = "--port=PORT TCP port to serve on, all IPv4 interfaces; environment variable PORT"
        self.assertIn(f"{port} [default: 4000]", words)
        self.assertIn("--listen=ENDPOINT serve on this Twisted endpoint", words)
        self.assertIn("INFERNET_ROUTER_MAX_POLLS", text)
        self.patch(os, "environ", {"COLUMNS": "60"})
        self.assertLess(max(map(len, Options({}).getUsage().splitlines())), 61)

    def test_listen(self) -> None:
        """--listen excludes --port, and beats the variable PORT."""
        options = parsed("--listen", "tcp6:4000", "--listen", "unix:/run/router", PORT="5000")
        self.assertEqual(options.listen, ("tcp6:4000", "unix:/run/router"))
        self.assert_bad(
            "--port and --listen: give one of them", "--port", "4000", "--listen", "tcp6:4000"
        )
        self.assertEqual(parsed("--listen", "tcp6:4000", PORT="x").listen, ("tcp6:4000",))

    def test_max_polls(self) -> None:
        """--max-polls takes a whole number of at least one."""
        self.assertEqual(parsed("--max-polls", "1000").max_polls, 1000)
        for text in ("0", "1.5", "10001", ""):
            self.assert_bad(
                f"--max-polls must be a whole number from 1 to 10000, not {text!r}",
                f"--max-polls={text}",
            )

    def test_rate_limit(self) -> None:
        """The rate limit is a flag or a variable; an empty variable means no limit."""
        self.assertEqual(parsed("--rate-limit", "60").rate_limit, 60)
        self.assertEqual(parsed(RATELIMIT_REQS_PER_MIN="60").rate_limit, 60)
        self.assertEqual(parsed("--rate-limit=6", RATELIMIT_REQS_PER_MIN="60").rate_limit, 6)
        self.assertIsNone(parsed(RATELIMIT_REQS_PER_MIN="").rate_limit)
        must = "must be a whole number from 1 to 1000000, not"
        for text in ("0", "-1", "1.5", "1000001", "ten", ""):
            self.assert_bad(f"--rate-limit {must} {text!r}", f"--rate-limit={text}")
        self.assert_bad(f"RATELIMIT_REQS_PER_MIN {must} '0'", RATELIMIT_REQS_PER_MIN="0")

    def test_version(self) -> None:
        """--version exits with code 0."""
        with self.assertRaises(SystemExit) as caught:
            parsed("--version")
        self.assertEqual(caught.exception.code, 0)
