"""Tests of infernet_router.hosts."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.hosts import BadAddress, is_ipv4, is_ipv6, not_a_node, url_host


class UrlHostTests(SynchronousTestCase):
    def test_good(self) -> None:
        """A host has one spelling in URLs, however it is written."""
        for text, host in [
            ("Node-1.invalid.", "node-1.invalid."),
            ("my_node_1", "my_node_1"),
            ("nöde.invalid", "xn--nde-sna.invalid"),
            ("192.0.2.1", "192.0.2.1"),
            ("\uff11\uff19\uff12.0.2\u30021", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
            ("[64:ff9b::192.0.2.1]", "[64:ff9b::c000:201]"),
        ]:
            self.assertEqual(url_host(text), host)

    def test_bad(self) -> None:
        """What is neither a name nor an IP address of a node is refused."""
        for text in (
            "",
            "a b",
            "a..b",
            ".a",
            "192.0.2",
            "0x7f.1",
            "[::1%lo]",
            "[::",
            "0.0.0.0",
            "[::]",
        ):
            self.assertRaises(BadAddress, url_host, text)


class IpTests(SynchronousTestCase):
    def test_not_a_node(self) -> None:
        """IP addresses that are not those of one host are known in every spelling of a resolver."""
        for ip in ("192.0.2.1", "127.0.0.1", "2001:db8::1", "::1", "::ffff:192.0.2.1", "ff::1"):
            self.assertEqual(not_a_node(ip), "")
        for ip, what in [
            ("0.0.0.0", "0.0.0.0/8"),
            ("0.255.0.1", "0.0.0.0/8"),
            ("::ffff:0.0.0.0", "0.0.0.0/8"),
            ("::ffff:0:0", "0.0.0.0/8"),
            ("::", "unspecified"),
            ("224.0.0.0", "multicast"),
            ("239.255.255.255", "multicast"),
            ("ff02::1", "multicast"),
            ("::ffff:224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
        ]:
            self.assertIn(what, not_a_node(ip))

    def test_families(self) -> None:
        """IPv4 and IPv6 addresses are told from names."""
        self.assertEqual(
            [is_ipv4(h) for h in ("192.0.2.1", "192.0.2.1.", "a")], [True, False, False]
        )
        self.assertEqual([is_ipv6(h) for h in ("::1", "fe80::1%lo", "a")], [True, True, False])
