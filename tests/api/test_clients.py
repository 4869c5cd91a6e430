"""Tests of infernet_router.api.clients."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.api.clients import Clients, parse_proxy
from tests.doubles import ask, logged

IP = "/api/v1/ip"
REFUSED = {"error": "too many requests: the limit is 2 a minute for a path"}


class Echo(Resource):
    """Answers with the client's address."""

    isLeaf = True

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    def render(self, request: Request) -> bytes:
        return str(self._clients.address(request)).encode()


class ParseProxyTests(SynchronousTestCase):
    def test_proxy(self) -> None:
        """A proxy is a network, an address, or `unix` for all unix sockets."""
        for text in ("10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"):
            self.assertEqual(parse_proxy(text), ip_network(text))
        self.assertEqual(parse_proxy("192.0.2.1"), ip_network("192.0.2.1/32"))
        self.assertEqual(parse_proxy("unix"), "unix")

    def test_bad(self) -> None:
        """Anything else is refused, and so is a network of IPv4-mapped addresses."""
        for text in ("", "10", "10.0.0.1/8", "10.0.0.0/33", "proxy.invalid", "::ffff:0:0/96"):
            with self.assertRaises(ValueError) as caught:
                parse_proxy(text)
            self.assertEqual(
                str(caught.exception),
                "must be unix, an IP address, or a network such as 10.0.0.0/8",
            )


class ClientsTests(SynchronousTestCase):
    def assert_client(
        self, client: str, peer: str, forwarded: str | None, *proxies: str, also: str | None = None
    ) -> None:
        """`client` is found when `peer` sends this X-Forwarded-For, and `also` as Forwarded."""
        fields = {"X-Forwarded-For": forwarded, "Forwarded": also}
        headers = {name: value for name, value in fields.items() if value is not None}
        echo = Echo(Clients([parse_proxy(proxy) for proxy in proxies]))
        self.assertEqual(ask(echo, peer=peer, headers=headers).body.decode(), client)

    def test_nobody(self) -> None:
        """X-Forwarded-For is ignored unless it comes from a trusted proxy."""
        self.assert_client("192.0.2.1", "192.0.2.1", None)
        self.assert_client("192.0.2.1", "192.0.2.1", "198.51.100.1")
        self.assert_client("192.0.2.1", "192.0.2.1", "198.51.100.1", "10.0.0.0/8", "unix")
        self.assert_client("2001:db8::1", "2001:db8::1", "198.51.100.1", "0.0.0.0/0")

    def test_proxy(self) -> None:
        """The client is the entry that a trusted proxy appended; earlier entries are ignored."""
        for forwarded in (
            "198.51.100.1",
            "203.0.113.9, 198.51.100.1",
            "10.0.0.9,198.51.100.1 ",
            "nonsense,198.51.100.1",
            "203.0.113.9|198.51.100.1",
        ):
            self.assert_client("198.51.100.1", "10.0.0.1", forwarded, "10.0.0.0/8")
        self.assert_client("10.0.0.1", "10.0.0.1", None, "10.0.0.0/8")

    def test_proxies(self) -> None:
        """All trusted proxies in a chain are skipped."""
        proxies = ("10.0.0.0/8", "2001:db8:1::1")
        for forwarded in (
            "198.51.100.1, 10.0.0.2",
            "203.0.113.9, 198.51.100.1, 2001:db8:1::1, 10.0.0.2",
            "198.51.100.1|2001:db8:1::1|10.0.0.2",
        ):
            self.assert_client("198.51.100.1", "10.0.0.1", forwarded, *proxies)
        self.assert_client("10.0.0.3", "10.0.0.1", "10.0.0.3, 10.0.0.2", *proxies)

    def test_forms(self) -> None:
        """An entry may have a port, brackets or quotes; empty entries are ignored."""
        for entry, client in (
            ("198.51.100.1:4000", "198.51.100.1"),
            ("198.51.100.1:_x-1", "198.51.100.1"),
            ('"198.51.100.1:4000"', "198.51.100.1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4000", "2001:db8::1"),
            ('"[2001:db8::1]:4000"', "2001:db8::1"),
            ("2001:db8:1:2:3:4:5:6:4000", "2001:db8:1:2:3:4:5:6"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("::ffff:198.51.100.1:4000", "198.51.100.1"),
            ("[::ffff:c633:6401]:4000", "198.51.100.1"),
            (" \t198.51.100.1\t , ,,", "198.51.100.1"),
            ("198.51.100.1|", "198.51.100.1"),
            (",", "10.0.0.1"),
            ("", "10.0.0.1"),
        ):
            self.assert_client(client, "10.0.0.1", entry, "10.0.0.0/8")

    def test_forwarded(self) -> None:
        """Forwarded is read in the same way."""
        for element, client in (
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=198.51.100.1;proto=http;by=203.0.113.43", "198.51.100.1"),
            ('proto=https ; for="198.51.100.1:4000" ; host="a\\"b;for=c"', "198.51.100.1"),
            ('by=_x;FOR="[2001:db8::1]:4711"', "2001:db8::1"),
            ("for=[2001:db8::1]:4711;", "2001:db8::1"),
            ("for=203.0.113.9,for=198.51.100.1", "198.51.100.1"),
            ("for=203.0.113.9|for=198.51.100.1, for=10.0.0.2", "198.51.100.1"),
            ('for="203.0.113.9, for=198.51.100.1', "198.51.100.1"),
            ('by=";for=203.0.113.9, for="[2001:db8::1]"', "2001:db8::1"),
            ('for="\\198.51.100.1"', "198.51.100.1"),
        ):
            self.assert_client(client, "10.0.0.1", None, "10.0.0.0/8", also=element)
            self.assert_client("192.0.2.1", "192.0.2.1", None, "10.0.0.0/8", also=element)

    def test_malformed(self) -> None:
        """Reading stops at an entry without an address: its clients count as the proxy."""
        for entry in (
            "unknown",
            "_hidden",
            '"_hidden:80"',
            "unix:",
            "010.0.0.1",
            "\xff",
            "198.51.100.1:",
            "198.51.100.1:x",
            "198.51.100.1:123456",
            "198.51.100.1]",
            "[198.51.100.1",
            "[2001:db8::1]x",
            "[]",
            '"',
            "198.51.100.1 198.51.100.2",
        ):
            self.assert_client("10.0.0.1", "10.0.0.1", f"198.51.100.1, {entry}", "10.0.0.0/8")
            self.assert_client(
                "10.0.0.2", "10.0.0.1", f"198.51.100.1, {entry}, 10.0.0.2", "10.0.0.0/8"
            )

    def test_malformed_forwarded(self) -> None:
        """So it does at an element of Forwarded."""
        for element in (
            "for=unknown",
            'for="_hidden:80"',
            "for=",
            "for",
            "by=198.51.100.1",
            "198.51.100.1",
            "for=198.51.100.1;for=198.51.100.2",
            'for="198.51.100.1',
            'host="a,for=198.51.100.1"',
            'host="a,for=198.51.100.1;x="',
            "for = 198.51.100.1",
            ";" * 1000 + " " * 1000 + "=",
        ):
            claimed = f"for=198.51.100.1, {element}"
            self.assert_client("10.0.0.1", "10.0.0.1", None, "10.0.0.0/8", also=claimed)

    def test_both(self) -> None:
        """When both fields are there, they have to agree: one of them may be made up."""
        for x_forwarded_for, forwarded, client in (
            ("198.51.100.1:80", "for=198.51.100.1", "198.51.100.1"),
            ("198.51.100.1, 10.0.0.2", "for=203.0.113.9, for=198.51.100.1", "198.51.100.1"),
            ("198.51.100.1", "for=203.0.113.9", "10.0.0.1"),
            ("203.0.113.9, 10.0.0.2", "for=198.51.100.1", "10.0.0.1"),
            ("198.51.100.1", "for=unknown", "10.0.0.1"),
            ("unknown", "for=198.51.100.1", "10.0.0.1"),
            ("", "for=198.51.100.1", "198.51.100.1"),
            ("198.51.100.1", " , ", "198.51.100.1"),
        ):
            self.assert_client(client, "10.0.0.1", x_forwarded_for, "10.0.0.0/8", also=forwarded)

    def test_logged(self) -> None:
        """A proxy without a readable entry is logged once, and a hundred of them at most."""
        lines = logged(self, "infernet_router.api.clients")
        echo = Echo(Clients([parse_proxy("10.0.0.0/8"), parse_proxy("unix")]))
        for peer, headers in (
            ("10.0.0.1", {"X-Forwarded-For": "198.51.100.1, unknown"}),
            ("10.0.0.1", {"X-Forwarded-For": "x\x1b"}),
            ("10.0.0.2", {"Forwarded": "by=me" + "e" * 999}),
            ("unix", {"X-Forwarded-For": "198.51.100.1", "Forwarded": "for=198.51.100.2"}),
            ("10.0.0.3", {"X-Forwarded-For": "nonsense, 198.51.100.1"}),
            ("192.0.2.1", {"X-Forwarded-For": "nonsense"}),
            ("10.0.0.3", {}),
        ):
            ask(echo, peer=peer, headers=headers)
        self.assertEqual(
            lines,
            [
                "warn: the trusted proxy 10.0.0.1 writes 'unknown' into X-Forwarded-For, without an"
                " address: its clients count as one",
                f"warn: the trusted proxy 10.0.0.2 writes 'by=me{'e' * 95}' into Forwarded, without"
                " an address: its clients count as one",
                "warn: the trusted proxy on the Unix socket passes on X-Forwarded-For and"
                " Forwarded, which do not agree: its clients count as one",
            ],
        )
        for number in range(200):
            ask(echo, peer=f"10.0.1.{number}", headers={"Forwarded": "nonsense"})
        self.assertEqual(len(lines), 100)

    def test_mapped(self) -> None:
        """An IPv4-mapped IPv6 address, as a dual-stack socket reports it, counts as IPv4."""
        self.assert_client("192.0.2.1", "::ffff:192.0.2.1", None)
        self.assert_client("198.51.100.1", "::ffff:10.0.0.1", "198.51.100.1", "10.0.0.0/8")
        self.assert_client("198.51.100.1", "10.0.0.1", "198.51.100.1, ::ffff:a00:2", "10.0.0.0/8")

    def test_unix(self) -> None:
        """A peer on a unix socket has no address; its header is trusted if `unix` is."""
        self.assert_client("None", "unix", None)
        self.assert_client("None", "unix", "198.51.100.1", "0.0.0.0/0", "::/0")
        self.assert_client("198.51.100.1", "unix", "198.51.100.1", "unix")
        self.assert_client("None", "unix", None, "unix")

    def test_identified(self) -> None:
        """A client is an IPv4 address, an IPv6 /64 network, or any peer on a unix socket."""

        class Identified(Resource):
            isLeaf = True

            def render(self, request: Request) -> bytes:
                return repr(Clients().identify(request)).encode()

        for client, peers in (
            (b"\xc0\x00\x02\x01", ("192.0.2.1", "::ffff:192.0.2.1")),
            (b"\x20\x01\x0d\xb8\0\0\0\1", ("2001:db8:0:1::1", "2001:db8:0:1:ffff::")),
            (None, ("unix",)),
        ):
            for peer in peers:
                self.assertEqual(ask(Identified(), peer=peer).body, repr(client).encode())

    @given(st.lists(st.text(st.characters(max_codepoint=255), max_size=20), max_size=5))
    def test_any_header(self, entries: list[str]) -> None:
        """Whatever precedes it in the header, the address that the proxy appended is the client."""
        claimed = ",".join(entries).translate({ord(c): None for c in "\r\n\0|"})
        self.assert_client("198.51.100.1", "10.0.0.1", f"{claimed},198.51.100.1", "10.0.0.0/8")
        element = f"{claimed},for=198.51.100.1"
        self.assert_client("198.51.100.1", "10.0.0.1", None, "10.0.0.0/8", also=element)
