"""Tests of infernet_router.addresses."""

import idna
from hyperlink import URL
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import (
    AddressList,
    BadAddress,
    BadAddressList,
    DnsSource,
    NodeAddress,
    parse_address,
    parse_dns_source,
)


class ParseAddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Every way to write an address keeps its spelling, and stands for one URL."""
        for text, named, url in [
            ("192.0.2.1:4000", "192.0.2.1:4000", "http://192.0.2.1:4000"),
            ("192.0.2.1:04000", "192.0.2.1:04000", "http://192.0.2.1:4000"),
            ("node.invalid", "node.invalid", "http://node.invalid"),
            ("node.invalid.", "node.invalid.", "http://node.invalid."),
            ("Node.invalid:4000", "Node.invalid:4000", "http://node.invalid:4000"),
            ("node-1:4000", "node-1:4000", "http://node-1:4000"),
            ("localhost", "localhost", "http://localhost"),
            ("http:4000", "http:4000", "http://http:4000"),
            ("https:4000/", "https:4000", "http://https:4000"),
            ("https-1", "https-1", "http://https-1"),
            ("node.invalid:80", "node.invalid:80", "http://node.invalid"),
            ("node.invalid:443", "node.invalid:443", "http://node.invalid:443"),
            ("[2001:DB8::1]:4000", "[2001:DB8::1]:4000", "http://[2001:db8::1]:4000"),
            ("[2001:db8::1]", "[2001:db8::1]", "http://[2001:db8::1]"),
            ("192.0.2.1:4000/", "192.0.2.1:4000", "http://192.0.2.1:4000"),
            ("http://node.invalid/", "http://node.invalid", "http://node.invalid"),
            ("HTTPS://node.invalid:443", "HTTPS://node.invalid:443", "https://node.invalid"),
            ("https://n.invalid:8443/a/b/", "https://n.invalid:8443/a/b", None),
            ("http://n.invalid/a%20b", "http://n.invalid/a%20b", None),
            ("http://n.invalid/ä", "http://n.invalid/ä", "http://n.invalid/%C3%A4"),
            ("nöde.invalid", "nöde.invalid", "http://xn--nde-sna.invalid"),
            ("XN--nde-sna.invalid", "XN--nde-sna.invalid", "http://xn--nde-sna.invalid"),
        ]:
            address = parse_address(text)
            self.assertEqual((str(address), address.url), (named, url or named), text)

    def test_bad(self) -> None:
        """A text that is not an address is refused, with a reason."""
        for text, reason in [
            ("", "empty"),
            ("u:p@node.invalid", "credentials"),
            ("http://u@node.invalid", "credentials"),
            ("node.invalid?x=1", "query"),
            ("http://node.invalid/?", "query"),
            ("http://node.invalid#x", "fragment"),
            ("ftp://node.invalid", "scheme must be http or https, not 'ftp'"),
            ("http://http://node.invalid", "scheme"),
            ("://node.invalid", "scheme"),
            ("node.invalid:0", "port must be a number from 1 to 65535, not '0'"),
            ("node.invalid:65536", "port"),
            ("node.invalid:", "port"),
            ("node.invalid:+1", "port"),
            ("node.invalid:४०००", "port"),
            ("node.invalid:http", "port"),
            ("node .invalid", "blank"),
            ("node\u00a0.invalid", "blank"),
            ("node\x00.invalid", "character"),
            ("node\u200b.invalid", "character"),
            ('"node.invalid"', "character"),
            ("node\udcff.invalid", "UTF-8"),
            ("192.0.2.0/24", "path needs http://"),
            ("192.0.2.256", "not an IPv4 address"),
            ("192.0.2", "not an IPv4 address"),
            ("0x7f.1", "not an IPv4 address"),
            ("2001:db8::1", "brackets"),
            ("[2001:db8::1", "not an IPv6 address"),
            ("[2001:db8::1]x", "not an IPv6 address"),
            ("[fe80::1%eth0]:4000", "not an IPv6 address"),
            ("[192.0.2.1]", "not an IPv6 address"),
            ("http:node.invalid", "the // after http: is missing"),
            ("http:/node.invalid:4000", "the // after http: is missing"),
            ("HTTPS:192.0.2.1/a", "the // after HTTPS: is missing"),
            ("https:", "the // after https: is missing"),
            ("http://", "host is missing"),
            (":4000", "host is missing"),
            ("a..invalid", "not a host name"),
            ("-a.invalid", "not a host name"),
            ("a,b", "not a host name"),
            ("a" * 64 + ".invalid", "not a host name"),
            ("a." * 127 + "invalid", "not a host name"),
            ("☃.invalid", "not a host name"),
            ("ö..invalid", "not a host name"),
            ("ab--cd.invalid", "not a host name or an IP address: Label has disallowed hyphens"),
            ("xn--zzzzzz9999", "not a host name"),
            ("node_1:4000", "the host 'node_1' has an underscore, which no host name may have"),
        ]:
            with self.assertRaises(BadAddress, msg=text) as caught:
                parse_address(text)
            self.assertIn(reason, str(caught.exception), text)

    def test_equal(self) -> None:
        """Two spellings of one URL are equal addresses."""
        self.assertEqual(parse_address("node.invalid:80"), parse_address("HTTP://NODE.invalid/"))
        self.assertEqual(hash(parse_address("[::1]")), hash(parse_address("[0::1]:80")))
        self.assertNotEqual(parse_address("node.invalid"), parse_address("https://node.invalid"))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is either an address with a printable ASCII URL, or refused."""
        try:
            address = parse_address(text)
        except BadAddress:
            return
        self.assertTrue(address.url.isascii() and address.url.isprintable())
        self.assertIn(URL.from_text(address.url).scheme, ("http", "https"))

    @given(st.text("ab1-ö", max_size=9), st.sampled_from(["", "xn--", "0x", "1."]))
    def test_any_host(self, text: str, start: str) -> None:
        """Every valid host is one that Twisted can look up."""
        try:
            address = parse_address(start + text)
        except BadAddress:
            return
        host = URL.from_text(address.url).host
        self.assertEqual(idna.encode(host), host.encode())

    @given(
        st.sampled_from(["", "http://", "https://"]),
        st.sampled_from(["192.0.2.1", "[2001:db8::1]", "node.invalid", "nöde.invalid"]),
        st.none() | st.integers(1, 65535),
        st.lists(st.text("abc-._~", min_size=1)),
    )
    def test_good_parts(self, scheme: str, host: str, port: int | None, path: list[str]) -> None:
        """Valid parts make an address that keeps its spelling, and its URL is an equal address."""
        text = scheme + host + (f":{port}" if port else "")
        if scheme:
            text += "".join(f"/{segment}" for segment in path)
        address = parse_address(text)
        self.assertEqual(str(address), text)
        self.assertEqual(parse_address(address.url), address)


class ParseDnsSourceTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A DNS source keeps its spelling; its name is normalised; SRV sources have no port."""
        for text, name, port in [
            ("dns://nodes.invalid:4000", "nodes.invalid", 4000),
            ("dns://nodes:80", "nodes", 80),
            ("DNS://Nodes.invalid.:4000", "nodes.invalid", 4000),
            ("dns://nöde.invalid:4000", "xn--nde-sna.invalid", 4000),
            ("dns+srv://_infernet._tcp.nodes.invalid", "_infernet._tcp.nodes.invalid", None),
            ("dns+srv://_Inf_er-net._TCP.nodes.invalid.", "_inf_er-net._tcp.nodes.invalid", None),
            ("dns+srv://nodes.invalid", "nodes.invalid", None),
        ]:
            parsed = parse_dns_source(text)
            self.assertEqual((str(parsed), parsed.name, parsed.port), (text, name, port))
        self.assertEqual(str(parse_dns_source("dns://nodes.invalid:1/")), "dns://nodes.invalid:1")

    def test_bad(self) -> None:
        """A text that is not a DNS source is refused, with a reason."""
        for text, reason in [
            ("nodes.invalid:4000", "does not begin with dns:// or dns+srv://"),
            ("dns://nodes.invalid", "the port is missing, as in dns://nodes.example.org:4000"),
            ("dns://nodes.invalid:0", "port must be a number from 1 to 65535"),
            ("dns+srv://_a._tcp.nodes.invalid:80", "leave the port out"),
            ("dns://192.0.2.1:4000", "192.0.2.1 is an IP address, which has no DNS records"),
            ("dns://[2001:db8::1]:4000", "is an IP address"),
            ("dns+srv://192.0.2.1", "is an IP address"),
            ("dns://_a.invalid:4000", "underscore"),
            ("dns+srv://_a._tcp", "underscore"),
            ("dns+srv://_a._tcp.", "host is missing"),
            ("dns://:4000", "host is missing"),
            ("dns+srv://" + "_a." * 81 + "nodes.invalid.", "longer than 253 characters"),
            ("dns://nodes.invalid:4000/a", "neither credentials nor a path"),
            ("dns://u@nodes.invalid:4000", "neither credentials nor a path"),
            ("dns://[nodes:4000", "not an IPv6 address"),
            ("dns://nodes.invalid:4000?type=A", "query"),
        ]:
            with self.assertRaises(BadAddress, msg=text) as caught:
                parse_dns_source(text)
            self.assertIn(reason, str(caught.exception), text)

    def test_equal(self) -> None:
        """Two spellings of one query are equal; another port or type is not."""
        name = parse_dns_source("dns://nodes.invalid:4000")
        self.assertEqual(name, parse_dns_source("DNS://NODES.invalid.:04000"))
        self.assertNotEqual(name, parse_dns_source("dns://nodes.invalid:4001"))
        self.assertNotEqual(name, parse_dns_source("dns+srv://nodes.invalid"))


def parse_address_list(text: str) -> tuple[NodeAddress | DnsSource, ...]:
    """What is in an address list."""
    read = AddressList()
    for _ in read.read(text.split("\n")):
        pass
    read.check()
    return (*read.addresses, *read.names)


class AddressListTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Comments, blanks, CRLF, a BOM and a missing last newline are accepted; order is kept."""
        addresses = parse_address_list(
            "\ufeff# all nodes\r\n192.0.2.2:4000\r\n\r\n"
            "  192.0.2.1:4000\t\n\n192.0.2.3:4000 # the big one\n   # none\nnode.invalid"
        )
        self.assertEqual(
            [str(address) for address in addresses],
            ["192.0.2.2:4000", "192.0.2.1:4000", "192.0.2.3:4000", "node.invalid"],
        )

    def test_duplicates(self) -> None:
        """A node that is listed twice counts once, with its first spelling."""
        addresses = parse_address_list("node.invalid\nhttp://node.invalid/\nnode.invalid:80\n")
        self.assertEqual([str(address) for address in addresses], ["node.invalid"])

    def test_bad_lines(self) -> None:
        """Every bad line is listed, with its number, its text and a reason."""
        with self.assertRaises(BadAddressList) as caught:
            parse_address_list("# nodes\nnode.invalid:x\n192.0.2.1\nhttp://u:p@h # secret\n")
        self.assertEqual(str(caught.exception), "2 bad lines")
        self.assertEqual(
            [(line.number, line.text) for line in caught.exception.lines],
            [(2, "node.invalid:x"), (4, "http://u:p@h")],
        )
        self.assertIn("port", caught.exception.lines[0].reason)
        self.assertIn("credentials", caught.exception.lines[1].reason)

    def test_dns(self) -> None:
        """A line may be a DNS source; a bad one is listed like any other bad line."""
        entries = parse_address_list(
            "192.0.2.1\ndns://nodes.invalid:4000\nDNS://nodes.invalid:4000"
        )
        name = DnsSource("dns://nodes.invalid:4000", "nodes.invalid", 4000)
        self.assertEqual(entries, (parse_address("192.0.2.1"), name))
        with self.assertRaises(BadAddressList) as caught:
            parse_address_list("192.0.2.1\ndns://nodes.invalid\n")
        (line,) = caught.exception.lines
        self.assertEqual((line.number, line.text), (2, "dns://nodes.invalid"))
        self.assertIn("port", line.reason)

    def test_many_bad_lines(self) -> None:
        """The first 20 bad lines are listed; the others are counted."""
        with self.assertRaises(BadAddressList) as caught:
            parse_address_list("a b\n" * 30)
        self.assertEqual(str(caught.exception), "30 bad lines")
        self.assertEqual([line.number for line in caught.exception.lines], [*range(1, 21)])
        self.assertEqual(caught.exception.more, 10)

    def test_long_line(self) -> None:
        """A line may be long for its comment, and not for its address."""
        texts = ("192.0.2.1 #" + "x " * 2000, " " * 3000 + "192.0.2.2" + " " * 3000)
        self.assertEqual(
            list(map(str, parse_address_list("\n".join(texts)))), ["192.0.2.1", "192.0.2.2"]
        )
        for text in ("a" * 3000, "192.0.2.1" + " " * 3000 + "b"):
            with self.assertRaises(BadAddressList) as caught:
                parse_address_list(text)
            (line,) = caught.exception.lines
            self.assertEqual(line.reason, "it is longer than 2000 characters")

    def test_known(self) -> None:
        """An address that is known by its text is not parsed again."""
        (known,) = parse_address_list("192.0.2.1")
        read = AddressList()
        assert isinstance(known, NodeAddress)
        for _ in read.read(["192.0.2.1 # the same", "192.0.2.2"], {"192.0.2.1": known}):
            pass
        self.assertEqual(list(map(str, read.addresses)), ["192.0.2.1", "192.0.2.2"])
        self.assertIs(next(iter(read.addresses)), known)

    def test_fragment(self) -> None:
        """A # without a blank before it does not begin a comment."""
        with self.assertRaises(BadAddressList) as caught:
            parse_address_list("http://node.invalid/#a")
        self.assertIn("fragment", caught.exception.lines[0].reason)

    def test_empty(self) -> None:
        """A list without addresses is empty."""
        self.assertEqual(parse_address_list("\ufeff\n # none\n"), ())

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is a list of distinct addresses, or refused with its bad lines in order."""
        try:
            addresses = parse_address_list(text)
        except BadAddressList as error:
            numbers = [line.number for line in error.lines]
            self.assertEqual(numbers, sorted(set(numbers)))
            self.assertLessEqual(numbers[-1], text.count("\n") + 1)
        else:
            self.assertEqual(len(set(addresses)), len(addresses))


class NodeAddressTests(SynchronousTestCase):
    def test_str(self) -> None:
        """The text of an address is its spelling."""
        self.assertEqual(f"{NodeAddress('Node', 'http://node')}", "Node")
