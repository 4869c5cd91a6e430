"""Tests of infernet_router.options: what options with a form of their own take."""

from ipaddress import ip_network
from pathlib import Path

from infernet_router.addresses import parse_address
from infernet_router.nodes.node_headers import NodeHeader
from infernet_router.settings import Settings
from tests.options_case import OptionsTestCase, parsed


class ValuesTests(OptionsTestCase):
    def test_node_explorer(self) -> None:
        """--node-explorer or API_URL takes a URL; the message names the one that is invalid."""
        for options in (
            parsed("--node-explorer", "https://explorer.invalid/a/"),
            parsed(API_URL="https://explorer.invalid/a/"),
            parsed("--node-explorer", "https://explorer.invalid/a", API_URL="nonsense://"),
        ):
            self.assertEqual(options.node_explorer, parse_address("https://explorer.invalid/a"))
        self.assertIsNone(parsed(API_URL="").node_explorer)
        problem = (
            "must be an http:// or https:// URL (the scheme must be http or https, not 'ftp'), not"
            " 'ftp://explorer.invalid'"
        )
        self.assert_bad(f"API_URL {problem}", API_URL="ftp://explorer.invalid")
        self.assert_bad(f"--node-explorer {problem}", "--node-explorer=ftp://explorer.invalid")
        self.assert_bad(
            "API_URL must be an http:// or https:// URL (credentials are not supported), not"
            " 'http://…@explorer.invalid'",
            API_URL="http://u:secret@explorer.invalid",
        )

    def test_resolver(self) -> None:
        """--resolver takes an IP address, and a port that defaults to 53."""
        for text, server in (
            ("192.0.2.1", ("192.0.2.1", 53)),
            ("192.0.2.1:5353", ("192.0.2.1", 5353)),
            ("[2001:db8::1]", ("2001:db8::1", 53)),
            ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ):
            self.assertEqual(parsed("--resolver", text).resolver, server)
        self.assert_bad(
            "--resolver must be the IP address of a name server, or that and a port, not 'a'",
            "--resolver=a",
        )

    def test_node_header(self) -> None:
        """Headers for nodes come from flags, files or a variable, which flags override."""
        path = Path(self.mktemp())
        path.write_text("X-B: b\nX-C: c\n")
        a, b, c = NodeHeader("X-A", "a"), NodeHeader("X-B", "b"), NodeHeader("X-C", "c")
        flags = ("--node-header", "X-A: a", "--node-header", f"@{path}")
        self.assertEqual(parsed(*flags).node_header, (a, b, c))
        for text, headers in (("X-A: a", (a,)), (f"@{path}\n\nX-A: a\n", (b, c, a)), ("", ())):
            variables = {"INFERNET_ROUTER_NODE_HEADER": text}
            self.assertEqual(parsed(**variables).node_header, headers)
            self.assertEqual(parsed(*flags, **variables).node_header, (a, b, c))

    def test_secret(self) -> None:
        """The value of a header for nodes is shown nowhere, neither when it is bad."""
        settings = parsed("--node-header", "X-Key: secret")
        self.assertEqual(str(settings), str(Settings()))
        self.assertNotIn("secret", repr(settings))
        shape = "it must be 'NAME: VALUE', and NAME the name of an HTTP header"
        self.assert_bad(f"--node-header: {shape}", "--node-header", "secret")
        own = "Host is a header that the router sets itself, or cannot send"
        self.assert_bad(f"--node-header: {own}", "--node-header", "Host: secret")
        variable = "INFERNET_ROUTER_NODE_HEADER"
        self.assert_bad(f"{variable}: {shape}", **{variable: "X-A: a\nsecret"})

    def test_trust_proxy(self) -> None:
        """--trust-proxy takes networks, addresses and unix; anything else is refused."""
        options = parsed("--trust-proxy", "10.0.0.0/8", "--trust-proxy=::1", "--trust-proxy=unix")
        networks = [ip_network("10.0.0.0/8"), ip_network("::1/128")]
        self.assertEqual(options.trust_proxy, (*networks, "unix"))
        self.assert_bad(
            "--trust-proxy must be unix, an IP address, or a network such as 10.0.0.0/8,"
            " not '10.0.0.0/33'",
            "--trust-proxy=10.0.0.0/33",
        )

    def test_cors_origin(self) -> None:
        """--cors-origin takes origins, normalised as in browsers; anything else is refused."""
        options = parsed("--cors-origin", "https://App.invalid:443/", "--cors-origin=*")
        self.assertEqual(options.cors_origin, ("https://app.invalid", "*"))
        self.assert_bad(
            "--cors-origin must be *, or an origin such as https://app.example.org:8443,"
            " not 'app.invalid'",
            "--cors-origin=app.invalid",
        )

    def test_weights(self) -> None:
        """Weights are read by name; a container id may have any characters."""
        options = parsed(
            "--job-weight", "llm=4", "--job-weight=a=b=0.5", "--pending-weight=onchain=2"
        )
        self.assertEqual(options.job_weight, {"llm": 4.0, "a=b": 0.5})
        self.assertEqual(options.pending_weight, {"onchain": 2.0})

    def test_bad_weights(self) -> None:
        """A weight without a name, with an invalid number, or given twice is refused."""
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
