"""Tests of infernet_router.api.clients."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from infernet_router.api.clients import Clients, parse_proxy
from tests.doubles import ask

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
    def assert_client(self, client: str, peer: str, forwarded: str | None, *proxies: str) -> None:
        """`client` is found when `peer` sends this X-Forwarded-For."""
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
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

    def test_malformed(self) -> None:
        """Reading stops at a malformed entry; the address read before it is the client."""
        for entry in ("", "unknown", "198.51.100.1:4000", "[2001:db8::1]", "010.0.0.1", "\xff"):
            self.assert_client("10.0.0.1", "10.0.0.1", f"198.51.100.1, {entry}", "10.0.0.0/8")
            self.assert_client(
                "10.0.0.2", "10.0.0.1", f"198.51.100.1, {entry}, 10.0.0.2", "10.0.0.0/8"
            )

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
