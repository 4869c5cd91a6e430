"""Tests of infernet_router.addresses."""

from hyperlink import URL
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import (
    BadAddress,
    hide_credentials,
    parse_address,
    parse_dns_source,
    parse_entry,
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
            ("My_node_1:4000", "My_node_1:4000", "http://my_node_1:4000"),
            ("http://-a-.ab--cd.xn--zzzzzz9999", "http://-a-.ab--cd.xn--zzzzzz9999", None),
            ("_a.nöde.invalid", "_a.nöde.invalid", "http://_a.xn--nde-sna.invalid"),
            ("[::FFFF:192.0.2.1]:4000", "192.0.2.1:4000", "http://192.0.2.1:4000"),
            ("https://[::ffff:c000:201]/a", "https://192.0.2.1/a", None),
            ("240.0.0.1", "240.0.0.1", "http://240.0.0.1"),
            ("http://n.invalid/a,b", "http://n.invalid/a,b", None),
            ("http://n.invalid/@a", "http://n.invalid/@a", None),
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
            (
                "192.0.2.1:4000 192.0.2.2:4000",
                "there is a blank inside: write one address per line",
            ),
            ("node\u00a0.invalid", "blank"),
            ("node\x00.invalid", "character"),
            ("node\u200b.invalid", "character"),
            ('"node.invalid"', "character"),
            ('"192.0.2.1:4000",', "it contains a character that no address may have"),
            ("node\udcff.invalid", "UTF-8"),
            ("192.0.2.0/24", "path needs http://"),
            ("192.0.2.256", "not an IPv4 address"),
            ("192.0.2", "not an IPv4 address"),
            ("0x7f.1", "not an IPv4 address"),
            (
                "010.0.0.1",
                "not an IPv4 address (four numbers from 0 to 255, without leading zeros)",
            ),
            ("2130706433:4000", "not an IPv4 address"),
            ("2001:db8::1", "brackets"),
            ("2001:db8::1:4000", "brackets"),
            ("fe80::1%eth0:4000", "brackets"),
            ("node.invalid:80:90", "there are too many colons: write host:port"),
            ("http://node.invalid:80:90/", "there are too many colons: write host:port"),
            ("[2001:db8::1]:80:90", "port"),
            ("0.0.0.0:4000", "0.0.0.0 is not the address of a node, but an address of 0.0.0.0/8"),
            ("0.1.2.3", "an address of 0.0.0.0/8, which no host has"),
            ("[::]:4000", ":: is not the address of a node, but the unspecified address"),
            ("[0:0::0]", "the unspecified address"),
            ("[::ffff:0.0.0.0]:4000", "0.0.0.0 is not the address of a node"),
            (
                "http://224.0.0.1:4000",
                "224.0.0.1 is not the address of a node, but a multicast address",
            ),
            ("239.255.255.255", "a multicast address"),
            ("[::ffff:224.0.0.1]", "a multicast address"),
            ("[FF02::1]:4000", "ff02::1 is not the address of a node, but a multicast address"),
            ("255.255.255.255", "the broadcast address"),
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
            (
                "a..invalid",
                "not a host name or an IP address: there is nothing before, or between,",
            ),
            ("a,b", "there is ',' inside: write one address per line"),
            ("192.0.2.1|192.0.2.2", "there is '|' inside: write one address per line"),
            ("192.0.2.1:1\u3001192.0.2.2:1", "there is '\u3001' inside: write one address per"),
            ("http://a.invalid|http://b.invalid", "there is '|' inside: write one address per"),
            ("192.0.2.1\uff0c192.0.2.2", "there is '\uff0c' inside: write one address per line"),
            (
                "192.0.2.1\r192.0.2.2",
                "there is a carriage return inside: end each line with a line",
            ),
            ("192.0.2.1\uff1a4000", "a name may not contain '\uff1a'"),
            (
                "b\xfccher_1.invalid:4000",
                "'b\xfccher_1.invalid' is not a host name or an IP address: a part with letters"
                " outside ASCII may not contain '_'",
            ),
            ("192.0.2.1:4000,192.0.2.2:4000", "write one address per line"),
            ("192.0.2.1:4000, 192.0.2.2:4000", "write one address per line"),
            ("192.0.2.1:4000;192.0.2.2:4000", "write one address per line"),
            ("192.0.2.1:4000,", "write one address per line"),
            ("http://a.invalid/,http://b.invalid/", "write one address per line"),
            ("http://a.invalid/a,", "write one address per line"),
            ("a" * 64 + ".invalid", "a part between dots is longer than 63 characters"),
            ("a." * 124 + "invalid", "the name is longer than 253 characters"),
            ("ö" * 254, "the name is longer than 253 characters"),
            ("ö." * 200, "the name is longer than 253 characters"),
            ("*.invalid", "a name may not contain '*'"),
            ("☃.invalid", "not a host name"),
            ("ö..invalid", "not a host name"),
        ]:
            with self.assertRaises(BadAddress, msg=text) as caught:
                parse_address(text)
            self.assertIn(reason, str(caught.exception), text)

    def test_equal(self) -> None:
        """Two spellings of one URL are equal addresses."""
        self.assertEqual(parse_address("node.invalid:80"), parse_address("HTTP://NODE.invalid/"))
        self.assertEqual(hash(parse_address("[::1]")), hash(parse_address("[0::1]:80")))
        self.assertNotEqual(parse_address("node.invalid"), parse_address("https://node.invalid"))
        for one, other in [
            ("192.0.2.1:4000", "[::ffff:192.0.2.1]:4000"),
            ("192.0.2.1:4000", "http://192.0.2.1:4000/"),
            ("node.invalid", "NODE.invalid.:80"),
            ("https://node.invalid./a", "https://node.invalid/a"),
            ("nöde.invalid", "xn--nde-sna.invalid."),
            ("http://node.invalid/a/b", "http://node.invalid//a/./c/..//b"),
            ("http://node.invalid/~a/ä", "http://node.invalid/%7Ea/%c3%a4"),
            ("http://node.invalid/..", "node.invalid"),
            ("http://[2001:db8::1]/a", "http://[2001:DB8:0::1]//a"),
            ("http://[2001:db8::1]:81/a", "http://[2001:DB8:0::1]:81//a"),
        ]:
            first, second = parse_address(one), parse_address(other)
            self.assertEqual((first, hash(first)), (second, hash(second)))
        for one, other in [
            ("http://node.invalid/a", "http://node.invalid/A"),
            ("http://node.invalid/a.", "http://node.invalid/a"),
            ("http://node.invalid/a%2Fb", "http://node.invalid/a/b"),
            ("[2001:db8::1]", "[2001:db8::1]:4000"),
        ]:
            self.assertNotEqual(parse_address(one), parse_address(other))

    def test_credentials(self) -> None:
        """The reason why an address is bad has no part of a password, and neither has its text."""
        for text, shown in [
            ("http://u:secret@n.invalid", "http://…@n.invalid"),
            ("http://u:sec/secret@n.invalid", "http://…@n.invalid"),
            ("http://u:sec secret?#,@n.invalid:1", "http://…@n.invalid:1"),
            ("u:secret@n.invalid:4000:1", "…@n.invalid:4000:1"),
            ("dns://u:secret@n.invalid:4000", "dns://…@n.invalid:4000"),
        ]:
            with self.assertRaises(BadAddress) as caught:
                parse_entry(text)
            self.assertEqual(str(caught.exception), "credentials are not supported")
            self.assertEqual(hide_credentials(text), shown)

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
        """Every valid host is ASCII, in lower case, and stays what it is."""
        try:
            address = parse_address(start + text)
        except BadAddress:
            return
        host = URL.from_text(address.url).host
        self.assertTrue(host.isascii() and host == host.lower())
        self.assertEqual(parse_address(host).url, address.url)

    @given(
        st.sampled_from(["", "http://", "https://"]),
        st.sampled_from(["192.0.2.1", "[2001:db8::1]", "node.invalid", "nöde.invalid"]),
        st.none() | st.integers(1, 65535),
        st.lists(st.text("abc-._~%2eä,:@", min_size=1).filter(lambda part: part[-1] != ",")),
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
            ("dns://my_nodes:4000", "my_nodes", 4000),
            ("dns+srv://_a._tcp", "_a._tcp", None),
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
            ("dns://:4000", "host is missing"),
            ("dns+srv://" + "_a." * 81 + "nodes.invalid.", "longer than 253 characters"),
            ("dns://nodes.invalid:4000/a", "neither credentials nor a path"),
            ("dns://u@nodes.invalid:4000", "credentials are not supported"),
            ("dns://[nodes:4000", "not an IPv6 address"),
            (
                "dns://nodes.invalid:4000?type=A",
                "the query may have family=4, 6 or both, each once, not",
            ),
            ("dns://nodes.invalid:4000?", "the query may have"),
            ("dns://nodes.invalid:4000?family=5", "the query may have"),
            ("dns://nodes.invalid:4000?as=address", "the query may have"),
            (
                "dns+srv://a.invalid?as=ip",
                "the query may have family=4, 6 or both, and as=address or name",
            ),
            ("dns+srv://a.invalid?as=name&as=name", "each once"),
            ("dns+srv://a.invalid?family=4&as=name", "has family= for addresses, but as=name"),
            ("dns://a.invalid:1,dns://b.invalid:1", "write one address per line"),
        ]:
            with self.assertRaises(BadAddress, msg=text) as caught:
                parse_dns_source(text)
            self.assertIn(reason, str(caught.exception), text)

    def test_query(self) -> None:
        """A DNS source may choose the kind of addresses, and an SRV source what targets become."""
        for text, family, targets in [
            ("dns://nodes.invalid:4000", "", ""),
            ("dns://nodes.invalid:4000?family=4", "4", ""),
            ("dns://nodes.invalid:4000/?Family=BOTH", "both", ""),
            ("dns+srv://nodes.invalid?as=name", "", "name"),
            ("dns+srv://nodes.invalid?family=6", "6", "address"),
            ("dns+srv://nodes.invalid?as=address&family=both", "both", "address"),
        ]:
            parsed = parse_dns_source(text)
            self.assertEqual((parsed.family, parsed.targets), (family, targets), text)
            self.assertEqual(str(parsed), text.replace("/?", "?"))

    def test_equal(self) -> None:
        """Two spellings of one query are equal; another port or type is not."""
        name = parse_dns_source("dns://nodes.invalid:4000")
        self.assertEqual(name, parse_dns_source("DNS://NODES.invalid.:04000"))
        self.assertNotEqual(name, parse_dns_source("dns://nodes.invalid:4001"))
        self.assertNotEqual(name, parse_dns_source("dns+srv://nodes.invalid"))
