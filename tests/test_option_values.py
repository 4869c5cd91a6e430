"""Tests of infernet_router.option_values."""

from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.addresses import parse_address
from infernet_router.option_values import (
    Withheld,
    endpoint,
    name_server,
    named_weight,
    number,
    one_of,
    path,
    prefix,
    redis,
    seconds,
    url,
    whole_number,
    yes_or_no,
)


class OptionValuesTests(SynchronousTestCase):
    def assert_bad(self, must: str, read: Callable[[str], object], *texts: str) -> None:
        """Each of these texts is refused with these words."""
        for text in texts:
            with self.assertRaises(ValueError, msg=text) as caught:
                read(text)
            self.assertEqual(str(caught.exception), must)

    def test_yes_or_no(self) -> None:
        """Yes and no are written in several ways."""
        for text, value in (("yes", True), ("1", True), ("True", True), ("no", False)):
            self.assertIs(yes_or_no(text), value)
        self.assert_bad("must be yes or no", yes_or_no, "", "y", "2", "on")

    def test_whole_number(self) -> None:
        """A whole number has digits only, and is from 1 to the most."""
        read = whole_number(1000)
        self.assertEqual([read("1"), read("007"), read("1000")], [1, 7, 1000])
        bad = ("0", "1001", "-1", "+1", "1.0", "1_0", " 1", "\u0664", "\u00b2", "ten", "")
        self.assert_bad("must be a whole number from 1 to 1000", read, *bad, "9" * 5000)

    def test_number(self) -> None:
        """A number may have a fraction or an exponent; the limits belong to the range."""
        read = number(0, 1, "a share")
        self.assertEqual([read("0"), read("1"), read("0.5"), read("5e-1")], [0, 1, 0.5, 0.5])
        bad = ("-0.1", "1.01", "90%", "nan", "inf", "0_1", "\u0661", "")
        self.assert_bad("must be a share from 0 to 1", read, *bad)
        self.assertEqual(seconds("0.1"), 0.1)
        self.assert_bad("must be a number of seconds from 0.1 to 86400", seconds, "0", "86401")

    def test_one_of(self) -> None:
        """A word is taken as it is written."""
        read = one_of(("text", "json"))
        self.assertEqual(read("json"), "json")
        self.assert_bad("must be one of text, json", read, "JSON", "xml", "")

    def test_path(self) -> None:
        """A path is not empty and has no NUL."""
        self.assertEqual(path("a b/c"), Path("a b/c"))
        self.assert_bad("must be the path of a file", path, "", "a\0")

    def test_endpoint(self) -> None:
        """The description of an endpoint is kept as it is; none stands for no endpoint."""
        self.assertEqual(endpoint("tcp6:4000"), "tcp6:4000")
        self.assertIsNone(endpoint("none"))
        must = "must be a Twisted endpoint such as tcp:4001:interface=127.0.0.1, or none"
        self.assert_bad(must, endpoint, "", "tcp:1\n")

    def test_redis(self) -> None:
        """The reason why a URL of Redis is bad does not have it."""
        self.assertEqual(redis("redis://a").host, "a")
        self.assert_bad("must have USER:PASSWORD or :PASSWORD before the @", redis, "redis://x@a")
        self.assertRaises(Withheld, redis, "redis://x@a")

    def test_prefix(self) -> None:
        """A prefix has no characters that are special in patterns of Redis."""
        self.assertEqual(prefix("infernet-router"), "infernet-router")
        must = "must have 1 to 100 letters, digits and . _ - :"
        self.assert_bad(must, prefix, "", "a*", "[a]", "a b", "\u00e4", "a\n")

    def test_url(self) -> None:
        """A URL is that of an HTTP server; the reason says what is wrong with it."""
        self.assertEqual(url("https://a.invalid/b/"), parse_address("https://a.invalid/b"))
        self.assert_bad(
            "must be an http:// or https:// URL (the scheme must be http or https, not 'ftp')",
            url,
            "ftp://a.invalid",
        )

    def test_name_server(self) -> None:
        """A name server is an IP address, and a port that defaults to 53."""
        for text, server in (
            ("192.0.2.1", ("192.0.2.1", 53)),
            ("192.0.2.1:5353", ("192.0.2.1", 5353)),
            ("[2001:db8::1]", ("2001:db8::1", 53)),
            ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ):
            self.assertEqual(name_server(text), server)
        bad = ("dns.invalid", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:65536", "::1", "",
               "192.0.2.1/24", "u@192.0.2.1", "192.0.2.1:53\n", "[192.0.2.1")  # fmt: skip
        must = "must be the IP address of a name server, or that and a port"
        self.assert_bad(must, name_server, *bad)

    def test_named_weight(self) -> None:
        """A weight has a name, which may be any or one of some, and a number in its range."""
        read = named_weight("CONTAINER=WEIGHT", 0.01)
        self.assertEqual(read("llm=4"), ("llm", 4.0))
        self.assertEqual(read("a=b=0.01"), ("a=b", 0.01))
        self.assert_bad("must be CONTAINER=WEIGHT", read, "llm", "=3", "")
        self.assert_bad(
            "must be CONTAINER=WEIGHT, where WEIGHT is a number from 0.01 to 1000",
            read,
            *("llm=", "llm=0", "llm=-1", "llm=x", "llm=nan", "llm=1001", "llm=1_0"),
        )
        of_some = named_weight("on=WEIGHT", 0, ("on",))
        self.assertEqual(of_some("on=0"), ("on", 0.0))
        self.assert_bad("must be on=WEIGHT", of_some, "off=1")
