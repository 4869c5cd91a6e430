"""Tests of infernet_router.api.query."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.api.query import BadRequest, Query


class QueryTests(SynchronousTestCase):
    def query(self, query: str) -> Query:
        return Query(b"/path?" + query.encode())

    def number(self, query: str) -> int:
        """The parameter n of a query: 0 to 1000, 3 when it is not given."""
        return self.query(query).whole_number("n", default=3, most=1000)

    def assert_bad_number(self, reason: str, query: str) -> None:
        with self.assertRaises(BadRequest) as caught:
            self.number(query)
        self.assertEqual(str(caught.exception), reason)

    def test_texts(self) -> None:
        """All values of a name are returned; `+` is a space, and `;` an ordinary character."""
        query = self.query("a=1&b=x&a=%C3%A4+%2B;b=y&%61=&a&c=%ff")
        self.assertEqual(query.texts("a"), ["1", "ä +;b=y", "", ""])
        self.assertEqual(query.texts("b"), ["x"])
        self.assertEqual(query.texts("d"), [])
        self.assertEqual(Query(b"/path").texts("a"), [])
        with self.assertRaises(BadRequest) as caught:
            query.texts("c")
        self.assertEqual(str(caught.exception), "c is not UTF-8")

    def test_text(self) -> None:
        """An optional text is refused when it is given twice, empty, or too long."""
        self.assertIsNone(self.query("x").text("a", longest=3))
        self.assertEqual(self.query("a=/:+&x").text("a", longest=3), "/: ")
        for query, reason in (
            ("a", "a is empty"),
            ("a=", "a is empty"),
            ("a=1&a=1", "a is given 2 times"),
            ("a=1234", "a has more than 3 characters"),
        ):
            with self.assertRaises(BadRequest) as caught:
                self.query(query).text("a", longest=3)
            self.assertEqual(str(caught.exception), reason)

    def test_addresses(self) -> None:
        """Addresses are read as those of the operator; a bad one, or one too many, is refused."""
        query = self.query("a=192.0.2.1:80/&a=HTTPS://Node.invalid&b=http://192.0.2.1&c=&d=%22")
        self.assertEqual(
            [address.url for address in query.addresses("a", most=2)],
            ["http://192.0.2.1", "https://node.invalid"],
        )
        self.assertEqual(query.addresses("x", most=2), [])
        for name, reason in (
            ("a", "a is given 2 times; the limit is 1"),
            ("c", "c='' is not an address: it is empty"),
            ("d", "d='\"' is not an address: it contains a character that no address may have"),
        ):
            with self.assertRaises(BadRequest) as caught:
                query.addresses(name, most=1)
            self.assertEqual(str(caught.exception), reason)

    def test_whole_number(self) -> None:
        """A number is given once, in digits, and is within its bounds."""
        for text, number in (("0", 0), ("00", 0), ("007", 7), ("1000", 1000), ("%31", 1)):
            self.assertEqual(self.number(f"n={text}"), number)
        self.assertEqual(self.number("m=1"), 3)
        for text in ("", "-1", "+1", "1.0", "1e2", "abc", "1001", "9" * 9000, "%D9%A4", "1_0"):
            self.assert_bad_number("n must be one whole number from 0 to 1000", f"n={text}")
        for query in ("n", "n=1&n=1", "n=&n=1"):
            self.assert_bad_number("n must be one whole number from 0 to 1000", query)
        self.assert_bad_number("n is not UTF-8", "n=%B2")
        with self.assertRaises(BadRequest) as caught:
            self.query("n=0").whole_number("n", default=3, least=1, most=9)
        self.assertEqual(str(caught.exception), "n must be one whole number from 1 to 9")

    def test_too_many(self) -> None:
        """A query has at most 100 parameters."""
        self.assertEqual(len(self.query("&".join(["a"] * 100)).texts("a")), 100)
        self.assert_bad_number("the query has more than 100 parameters", "&" * 100)

    @given(st.binary())
    def test_anything(self, query: bytes) -> None:
        """Any query is either read or refused with BadRequest."""
        try:
            read = Query(b"/?" + query)
            read.texts("a")
            read.text("b", longest=3)
            read.whole_number("c", default=3, most=1000)
            read.addresses("d", most=3)
        except BadRequest:
            pass
