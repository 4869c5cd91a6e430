"""Tests of infernet_router.sources.address_list."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import DnsSource, NodeAddress, parse_address
from infernet_router.sources.address_list import AddressList, BadAddressList


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

    def test_weights(self) -> None:
        """An address may have a weight from 0.1 to 10; the one that is listed first counts."""
        addresses = parse_address_list(
            "192.0.2.1:4000 weight=2 # twice\nhttp://192.0.2.2\t weight=0.1\n192.0.2.3\n"
            "[2001:db8::1]:4000 weight=10\n192.0.2.3 weight=3\n"
        )
        self.assertEqual(
            [(str(one), one.weight) for one in addresses if isinstance(one, NodeAddress)],
            [
                ("192.0.2.1:4000", 2.0),
                ("http://192.0.2.2", 0.1),
                ("192.0.2.3", None),
                ("[2001:db8::1]:4000", 10.0),
            ],
        )
        number = "the weight must be a number from 0.1 to 10, not "
        for line, reason in (
            ("192.0.2.1 weight=11", number + "'11'"),
            ("192.0.2.1 weight=0", number + "'0'"),
            ("192.0.2.1 weight=", number + "''"),
            ("192.0.2.1 weight=nan", number + "'nan'"),
            ("192.0.2.1 weight=1e0", number + "'1e0'"),
            ("192.0.2.1 weight=2 weight=2", "there is a blank inside"),
            ("192.0.2.1 wait=2", "there is a blank inside"),
            ("192.0.2.1 weight = 2", "there is a blank inside"),
            ("weight=2", ""),
            ("dns://node.invalid:4000 weight=2", "only the address of a node may have a weight"),
        ):
            with self.assertRaises(BadAddressList) as caught:
                parse_address_list(line)
            (bad,) = caught.exception.lines
            self.assertIn(reason, bad.reason)

    def test_bad_lines(self) -> None:
        """Every bad line is listed, with its number, its text and a reason."""
        with self.assertRaises(BadAddressList) as caught:
            parse_address_list("# nodes\nnode.invalid:x\n192.0.2.1\nhttp://u:p@h # secret\n")
        self.assertEqual(str(caught.exception), "2 bad lines")
        self.assertEqual(
            [(line.number, line.text) for line in caught.exception.lines],
            [(2, "node.invalid:x"), (4, "http://…@h")],
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
