"""Tests of infernet_router.nodes.rate_fields."""

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from infernet_router.nodes.rate_fields import NO_LIMIT, RateLimit, rate_limit

NOON = 1_795_694_400.0
"""Thu, 26 Nov 2026 12:00:00 GMT, in seconds since 1970."""
DATE = "Thu, 26 Nov 2026 12:00:00 GMT"


def read(*lines: str) -> RateLimit:
    """What these header lines say, to a router whose clock is 1000 seconds fast."""
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.addRawHeader(name, value)
    return rate_limit(headers, lambda: NOON + 1000)


class RetryAfterTests(SynchronousTestCase):
    def assert_retry_after(self, expected: float | None, *lines: str) -> None:
        self.assertEqual(read(*(f"retry-after: {line}" for line in lines)).retry_after, expected)

    def test_seconds(self) -> None:
        """Retry-After has seconds; of several, the longest counts."""
        self.assert_retry_after(7.0, "7")
        self.assert_retry_after(0.0, "0")
        self.assert_retry_after(9.0, "9, 9")
        self.assert_retry_after(12.0, "3", " 12 ")

    def test_date(self) -> None:
        """Retry-After may be a date in any of three formats, which one in the past makes 0."""
        for date in (
            "Thu, 26 Nov 2026 12:17:00 GMT",
            "Thursday, 26-Nov-26 12:17:00 GMT",
            "Thu Nov 26 12:17:00 2026",
        ):
            self.assert_retry_after(20.0, date)
        self.assert_retry_after(0.0, DATE)

    def test_date_of_response(self) -> None:
        """A date counts from the Date of the response, so that no clock has to be right."""
        later = "retry-after: Thu, 26 Nov 2026 12:00:30 GMT"
        self.assertEqual(read(later, f"date: {DATE}").retry_after, 30.0)
        self.assertEqual(read(later, "date: yesterday").retry_after, 0.0)

    def test_absurd(self) -> None:
        """What is no time is ignored, and a time of more than a day is a day."""
        for text in ("", "soon", "-5", "1e9", "0x10", "5 s", "\xff", "9" * 5000):
            self.assert_retry_after(None, text)
        self.assert_retry_after(None, "Thu, 26 Xyz 2026 12:00:00 GMT")
        self.assert_retry_after(86400.0, "999999999999")
        self.assert_retry_after(86400.0, "Thu, 26 Nov 9926 12:00:00 GMT")
        self.assert_retry_after(4.0, "-5, x, 4")
        self.assert_retry_after(1.0, *["1"] * 5000)


class PaceTests(SynchronousTestCase):
    def assert_pace(self, expected: float | None, *lines: str) -> None:
        self.assertEqual(read(*lines).pace, expected)

    def test_none(self) -> None:
        """Without any field, nothing is known."""
        self.assertIs(read("content-type: text/html", f"date: {DATE}"), NO_LIMIT)

    def test_older(self) -> None:
        """The remaining requests are spread until the reset."""
        for prefix in ("RateLimit", "X-RateLimit"):
            self.assert_pace(
                6.0, f"{prefix}-Limit: 60", f"{prefix}-Remaining: 5", f"{prefix}-Reset: 30"
            )
        self.assert_pace(
            0.5, "ratelimit-limit: 60, 60;w=60", "ratelimit-remaining: 40;x", "ratelimit-reset: 20"
        )

    def test_used_up(self) -> None:
        """When no request remains, the pace is the time until the reset."""
        self.assert_pace(30.0, "ratelimit-remaining: 0", "ratelimit-reset: 30")

    def test_moment(self) -> None:
        """A reset may be a moment, in seconds or milliseconds since 1970."""
        self.assert_pace(4.0, "x-ratelimit-remaining: 10", f"x-ratelimit-reset: {NOON + 1040:.0f}")
        self.assert_pace(0.0, "x-ratelimit-remaining: 10", f"x-ratelimit-reset: {NOON:.0f}")
        milliseconds = f"x-ratelimit-reset: {1000 * (NOON + 1040):.0f}"
        self.assert_pace(4.0, "x-ratelimit-remaining: 10", milliseconds)

    def test_drafts(self) -> None:
        """Both forms of RateLimit are read; of several policies, the strictest counts."""
        self.assert_pace(3.0, "ratelimit: limit=100, remaining=10, reset=30")
        self.assert_pace(0.6, 'ratelimit: "default";r=50;t=30', 'ratelimit-policy: "default";q=100')
        self.assert_pace(5.0, 'ratelimit: "a";r=50;t=30, "b, r=0;t=99"; r=2; t=10')
        self.assert_pace(8.0, 'ratelimit: "a";r=50;t=30', 'ratelimit: "b";r=1;t=8')

    def test_absurd(self) -> None:
        """What is malformed or incomplete is ignored, and no pace is longer than a day."""
        for lines in (
            ["ratelimit-remaining: 5"],
            ["ratelimit-reset: 5"],
            ["ratelimit-remaining: -1", "ratelimit-reset: 5"],
            ["ratelimit-remaining: x", "ratelimit-reset: nan"],
            ["ratelimit: r=-1;t=5"],
            ["ratelimit: r=1;t=5.5.5"],
            ["ratelimit: " + '"' * 9999],
            ["ratelimit: " + "r=1;" * 9999],
        ):
            self.assert_pace(None, *lines)
        self.assert_pace(86400.0, "ratelimit-remaining: 0", "ratelimit-reset: 999999999")
        self.assert_pace(5.0, *["ratelimit: r=1;t=5"] * 5000)
