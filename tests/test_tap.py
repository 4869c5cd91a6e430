"""Tests of infernet_router.tap."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.tap import CannotStart, Options, makeService
from tests.doubles import DeafReactor

PORT = "must be a whole number from 1 to 65535, not"
SECONDS = "must be a number of seconds from 0.1 to 86400, not"


def parsed(*flags: str, **environ: str) -> Options:
    options = Options(environ)
    options.parseOptions(list(flags))
    return options


class OptionsTests(SynchronousTestCase):
    def assert_bad(self, reason: str, *flags: str, **environ: str) -> None:
        """These options are refused in one line with this reason, and exit code 1."""
        with self.assertRaises(CannotStart) as caught:
            parsed(*flags, **environ)
        self.assertEqual(caught.exception.code, f"infernet-router: {reason}")

    def test_defaults(self) -> None:
        """Nothing needs to be said."""
        options = parsed()
        self.assertEqual(
            dict(options),
            {
                "port": 4000,
                "ips": Path("ips.txt"),
                "node-explorer": None,
                "resolver": None,
                "interval": 3.0,
                "timeout": 3.0,
                "max-polls": 500,
                "resources-interval": 60.0,
                "max-utilization": 1.0,
                "ca-file": None,
                "listen": [],
                "rate-limit": None,
                "trust-proxy": [],
                "cors-origin": [],
                "job-weight": {},
                "pending-weight": {},
            },
        )

    def test_precedence(self) -> None:
        """A flag beats its variable, which beats the default; an empty variable is none."""
        self.assertEqual(parsed(PORT="5000", REFRESH_INTERVAL="9.5")["port"], 5000)
        self.assertEqual(parsed(PORT="5000", REFRESH_INTERVAL="9.5")["interval"], 9.5)
        self.assertEqual(parsed("--port", "6000", PORT="5000")["port"], 6000)
        self.assertEqual(parsed("--port=6000", PORT="nonsense")["port"], 6000)
        self.assertEqual(parsed(PORT="", REFRESH_INTERVAL="")["port"], 4000)

    def test_bad_flags(self) -> None:
        """A bad value is refused, naming its option and what it may be."""
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

    def test_node_explorer(self) -> None:
        """A Node Explorer is named by its URL, a bad one refused where it was given."""
        for options in (
            parsed("--node-explorer", "https://explorer.invalid/a/"),
            parsed(API_URL="https://explorer.invalid/a/"),
            parsed("--node-explorer", "https://explorer.invalid/a", API_URL="nonsense://"),
        ):
            self.assertEqual(options["node-explorer"].url, "https://explorer.invalid/a")
        self.assertIsNone(parsed(API_URL="")["node-explorer"])
        problem = (
            "must be an http:// or https:// URL (the scheme must be http or https, not 'ftp'), not"
            " 'ftp://explorer.invalid'"
        )
        self.assert_bad(f"API_URL {problem}", API_URL="ftp://explorer.invalid")
        self.assert_bad(f"--node-explorer {problem}", "--node-explorer=ftp://explorer.invalid")

    def test_resolver(self) -> None:
        """A name server is named by its IP address, and its port if that is not 53."""
        for text, server in (
            ("192.0.2.1", ("192.0.2.1", 53)),
            ("192.0.2.1:5353", ("192.0.2.1", 5353)),
            ("[2001:db8::1]", ("2001:db8::1", 53)),
            ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ):
            self.assertEqual(parsed("--resolver", text)["resolver"], server)
        for text in ("dns.invalid", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:65536", "::1", "",
                     "192.0.2.1/24", "u@192.0.2.1", "192.0.2.1:53\n", "[192.0.2.1"):  # fmt: skip
            self.assert_bad(
                "--resolver must be the IP address of a name server, or that and a port, not"
                f" {text!r}",
                f"--resolver={text}",
            )

    def test_bad_variables(self) -> None:
        """A bad variable is refused, naming it."""
        self.assert_bad(f"PORT {PORT} '70000'", PORT="70000")
        self.assert_bad(f"REFRESH_INTERVAL {SECONDS} 'nan'", REFRESH_INTERVAL="nan")
        self.assert_bad(f"REFRESH_INTERVAL {SECONDS} '0'", REFRESH_INTERVAL="0")
        self.assert_bad(f"--interval {SECONDS} '0'", "--interval=0", REFRESH_INTERVAL="0")

    def test_unknown(self) -> None:
        """An option that is none, and an argument, are refused."""
        help = "see twistd infernet-router --help"
        self.assert_bad(f"option --prt not recognized; {help}", "--prt", "4000")
        self.assert_bad(f"option --port requires argument; {help}", "--port")
        self.assert_bad(f"Wrong number of arguments.; {help}", "4000")

    def test_listen(self) -> None:
        """--listen is in place of --port, even of one with the default, and beats the variable."""
        options = parsed("--listen", "tcp6:4000", "--listen", "unix:/run/router", PORT="5000")
        self.assertEqual(options["listen"], ["tcp6:4000", "unix:/run/router"])
        self.assert_bad(
            "--port and --listen: give one of them", "--port", "4000", "--listen", "tcp6:4000"
        )
        self.assertEqual(parsed("--listen", "tcp6:4000", PORT="x")["listen"], ["tcp6:4000"])

    def test_max_polls(self) -> None:
        """So many polls a second are allowed, at least one."""
        self.assertEqual(parsed("--max-polls", "1000")["max-polls"], 1000)
        for text in ("0", "1.5", "10001", ""):
            self.assert_bad(
                f"--max-polls must be a whole number from 1 to 10000, not {text!r}",
                f"--max-polls={text}",
            )

    def test_rate_limit(self) -> None:
        """The rate limit is a flag or a variable; an empty variable is none."""
        self.assertEqual(parsed("--rate-limit", "60")["rate-limit"], 60)
        self.assertEqual(parsed(RATELIMIT_REQS_PER_MIN="60")["rate-limit"], 60)
        self.assertEqual(parsed("--rate-limit=6", RATELIMIT_REQS_PER_MIN="60")["rate-limit"], 6)
        self.assertIsNone(parsed(RATELIMIT_REQS_PER_MIN="")["rate-limit"])
        must = "must be a whole number from 1 to 1000000, not"
        for text in ("0", "-1", "1.5", "1000001", "ten", ""):
            self.assert_bad(f"--rate-limit {must} {text!r}", f"--rate-limit={text}")
        self.assert_bad(f"RATELIMIT_REQS_PER_MIN {must} '0'", RATELIMIT_REQS_PER_MIN="0")

    def test_trust_proxy(self) -> None:
        """Proxies are trusted by network; one that is none is refused."""
        options = parsed("--trust-proxy", "10.0.0.0/8", "--trust-proxy=::1", "--trust-proxy=unix")
        networks = [ip_network("10.0.0.0/8"), ip_network("::1/128")]
        self.assertEqual(options["trust-proxy"], [*networks, "unix"])
        self.assert_bad(
            "--trust-proxy must be unix, an IP address, or a network such as 10.0.0.0/8,"
            " not '10.0.0.0/33'",
            "--trust-proxy=10.0.0.0/33",
        )

    def test_cors_origin(self) -> None:
        """Origins are allowed as browsers write them; one that is none is refused."""
        options = parsed("--cors-origin", "https://App.invalid:443/", "--cors-origin=*")
        self.assertEqual(options["cors-origin"], ["https://app.invalid", "*"])
        self.assert_bad(
            "--cors-origin must be *, or an origin such as https://app.example.org:8443,"
            " not 'app.invalid'",
            "--cors-origin=app.invalid",
        )

    def test_weights(self) -> None:
        """Weights are read by name; an id may have any characters."""
        options = parsed(
            "--job-weight", "llm=4", "--job-weight=a=b=0.5", "--pending-weight=onchain=2"
        )
        self.assertEqual(options["job-weight"], {"llm": 4.0, "a=b": 0.5})
        self.assertEqual(options["pending-weight"], {"onchain": 2.0})

    def test_bad_weights(self) -> None:
        """A weight without a name, with a bad number, or given twice is refused."""
        shape = "must be CONTAINER=WEIGHT"
        for text in ("llm", "=3", ""):
            self.assert_bad(f"--job-weight {shape}, not {text!r}", f"--job-weight={text}")
        for text in ("llm=", "llm=0", "llm=-1", "llm=x", "llm=nan", "llm=1001", "llm=1_0"):
            self.assert_bad(
                f"--job-weight {shape}, where WEIGHT is a number from 0.01 to 1000, not {text!r}",
                f"--job-weight={text}",
            )
        self.assert_bad(
            "--job-weight names 'llm' twice", "--job-weight=llm=1", "--job-weight=llm=2"
        )
        shape = "must be offchain=WEIGHT or onchain=WEIGHT"
        self.assert_bad(f"--pending-weight {shape}, not 'llm=2'", "--pending-weight=llm=2")
        self.assert_bad(
            f"--pending-weight {shape}, where WEIGHT is a number from 0 to 1000, not 'onchain=-1'",
            "--pending-weight=onchain=-1",
        )

    def test_help(self) -> None:
        """The help explains every option with its default and its variable."""
        words = " ".join(str(Options({})).split())
        for part in (
            "--port= TCP port to serve on, all IPv4 interfaces; environment variable PORT"
            " [default: 4000]",
            "its next, 0.1 to 86400; environment variable REFRESH_INTERVAL [default: 3]",
            "--listen=",
            "answer to a poll, 0.1 to 86400 [default: 3]",
            "--resources-interval=",
            "--max-polls=",
            "to the next, 0.1 to 86400 [default: 60]",
            "[default: ips.txt]",
            "--max-utilization= share of its GPU memory in use, 0 to 1,",
            "the job; 1 leaves none out [default: 1]",
            "--ca-file=",
            "--job-weight= cost of a job for one container, CONTAINER=0.01 to 1000, 1 if not",
            "--rate-limit= requests a minute that are answered to a client address",
            "all are; environment variable RATELIMIT_REQS_PER_MIN",
            "--trust-proxy= believe X-Forwarded-For from this IP address, network, or unix",
            "--cors-origin= let pages of this origin, https://app.example.org, say, or * for all",
            "--pending-weight= jobs that a pending one of a kind counts for",
        ):
            self.assertIn(part, words)

    def test_version(self) -> None:
        """--version tells the version."""
        with self.assertRaises(SystemExit) as caught:
            parsed("--version")
        self.assertEqual(caught.exception.code, 0)


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.ips = Path(self.mktemp()).absolute()
        self.ips.write_text("192.0.2.1:4000\nhttps://192.0.2.2\n")

    def make(self, *flags: str) -> Any:
        return makeService(parsed("--ips", str(self.ips), *flags), self.reactor)

    def assert_bad(self, reason: str, *flags: str) -> None:
        with self.assertRaises(CannotStart) as caught:
            self.make(*flags)
        code = str(caught.exception.code)
        self.assertTrue(code.startswith(f"infernet-router: {reason}"), code)

    def test_runs(self) -> None:
        """It listens, and asks every node of the file; stopping leaves nothing behind."""
        router = self.make("--port", "4001")
        router.privilegedStartService()
        router.startService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [4001])
        self.assertEqual(
            sorted(client[:2] for client in self.reactor.tcpClients),
            [("192.0.2.1", 4000), ("192.0.2.2", 443)],
        )
        self.successResultOf(router.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_explorer(self) -> None:
        """With a Node Explorer there need be no ips.txt, unless --ips says that there is one."""
        self.ips.unlink()
        router = makeService(
            parsed("--node-explorer", "http://192.0.2.7:81", "--listen", "tcp:0"), self.reactor
        )
        router.privilegedStartService()
        router.startService()
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("192.0.2.7", 81)])
        self.successResultOf(router.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assert_bad(f"there is no {self.ips}", "--node-explorer", "http://192.0.2.7:81")

    def test_listen(self) -> None:
        """It listens where --listen says."""
        router = self.make("--listen", "tcp:4002", "--listen", "tcp:4003:interface=127.0.0.1")
        router.privilegedStartService()
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [4002, 4003])

    def test_bad(self) -> None:
        """What cannot be read or made ends it with the reason."""
        self.assert_bad("cannot listen on 'nonsense:1'", "--listen", "nonsense:1")
        self.assert_bad("cannot read /nowhere/ca.pem", "--ca-file", "/nowhere/ca.pem")
        self.assert_bad(f"{self.ips} holds no PEM certificate", "--ca-file", str(self.ips))
        self.ips.write_text("a b\nc d\n")
        self.assert_bad(
            f"{self.ips}, line 1: 'a b': there is a blank inside\n"
            f"infernet-router: {self.ips}, line 2: 'c d': there is a blank inside"
        )
        self.ips.unlink()
        self.assert_bad(f"there is no {self.ips}: copy ips.txt.example")

    def test_taken(self) -> None:
        """A port that is taken ends it with the reason."""
        self.reactor = DeafReactor()
        router = self.make()
        with self.assertRaises(CannotStart) as caught:
            router.privilegedStartService()
        self.assertEqual(
            caught.exception.code,
            "infernet-router: cannot listen on 'tcp:4000': Address already in use",
        )


class PluginTests(SynchronousTestCase):
    def test_found(self) -> None:
        """twistd finds the plugin, and with it the options and the service."""
        plugins: Any = getPlugins(IServiceMaker)
        (plugin,) = [plugin for plugin in plugins if plugin.tapname == "infernet-router"]
        self.assertEqual((plugin.options, plugin.makeService), (Options, makeService))
