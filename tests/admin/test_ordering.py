"""Tests of infernet_router.admin.ordering."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.ordering import Wanted, parse_wanted
from infernet_router.api.query import BadRequest


class OrderingTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Drain and weight may stand alone; the rest is optional."""
        drained = Wanted(drain=True, weight=None, reason="", seconds=None, force=False)
        self.assertEqual(parse_wanted(b'{"drain": true}'), drained)
        self.assertEqual(parse_wanted(b'{"drain": true, "weight": null, "for": null}'), drained)
        self.assertEqual(
            parse_wanted(
                b'{"drain":false,"weight":10,"reason":"\\u00e4","for":"02h","force":true}'
            ),
            Wanted(drain=False, weight=10.0, reason="ä", seconds=7200, force=True),
        )
        for text, seconds in (("1s", 1), ("90m", 5400), ("366d", 366 * 86400)):
            body = b'{"weight": 0.1, "for": "%b"}' % text.encode()
            self.assertEqual(parse_wanted(body).seconds, seconds)

    def test_bad(self) -> None:
        """Anything else is refused, with what is wrong and where."""
        number = "weight must be a number from 0.1 to 10, not "
        for body, reason in (
            (b" \n", "the body is missing"),
            (b"[]", "Expected `object`, got `array`"),
            (b'{"drain":true}x', "trailing characters"),
            (b'{"drian":true}', "unknown field `drian`"),
            (b'{"drain":1}', "got `int` - at `$.drain`"),
            (b'{"drain":"yes"}', "got `str` - at `$.drain`"),
            (b'{"weight":NaN}', "malformed"),
            (b'{"weight":1e999}', "out of range"),
            (b'{"weight":true}', "got `bool` - at `$.weight`"),
            (b'{"weight":0.09}', number + "0.09"),
            (b'{"weight":-1}', number + "-1"),
            (b'{"weight":11}', number + "11"),
            (b"{}", "neither drain nor weight is given"),
            (b'{"drain":false}', "neither drain nor weight is given"),
            (b'{"drain":true,"drain":true}', "the body has 'drain' twice"),
            (b'{"drain":true,"reason":"\\n"}', "reason must be at most 500 characters that print"),
            (b'{"drain":true,"reason":"%b"}' % (b"x" * 501), "at most 500 characters"),
            (b'{"drain":true,"reason":"\\ud800"}', "the body is not an override"),
            (b'{"drain":true,"reason":"\xff"}', "utf-8"),
            (b'{"drain":true,"reason":' + b"[" * 60_000, "got `array` - at `$.reason`"),
            (b"[" * 60_000, "Expected `object`"),
            (b'{"x":' * 10_000, "the body is not an override"),
        ):
            with self.assertRaises(BadRequest) as caught:
                parse_wanted(body)
            self.assertIn(reason.lower(), str(caught.exception).lower())

    def test_bad_duration(self) -> None:
        """A duration is a whole number and a unit, and 366 days at most."""
        for text in ("", "0s", "2", "h", "2w", "1.5h", "-1h", "367d", "9999999999s", "2 h", "٢h"):
            with self.assertRaises(BadRequest) as caught:
                parse_wanted(b'{"drain":true,"for":"%b"}' % text.encode())
            self.assertIn("for must be a whole number and s, m, h or d", str(caught.exception))
