"""Tests of infernet_router.replicas.redis_url."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.replicas.redis_url import BadRedisUrl, RedisUrl, parse_redis_url


class RedisUrlTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """A URL has a host or a path, and perhaps a port, a user, a password and a database."""
        for text, url in (
            ("redis://a.invalid", RedisUrl("a.invalid")),
            ("REDIS://A.invalid/", RedisUrl("a.invalid")),
            ("redis://192.0.2.1:1/2", RedisUrl("192.0.2.1", 1, database=2)),
            ("rediss://[2001:db8::1]", RedisUrl("2001:db8::1", tls=True)),
            ("redis://:p@a:6380", RedisUrl("a", 6380, password="p")),
            ("redis://u:p%40%2f%25@a", RedisUrl("a", user="u", password="p@/%")),
            ("redis://u:p:@q@a", RedisUrl("a", user="u", password="p:@q")),
            ("unix:///run/r.sock", RedisUrl(path="/run/r.sock")),
            ("unix://:p@/r%20s?db=3", RedisUrl(path="/r s", password="p", database=3)),
            ("unix://u:p/q@/r", RedisUrl(path="/r", user="u", password="p/q")),
        ):
            self.assertEqual(parse_redis_url(text), url, text)

    def test_shown(self) -> None:
        """The password is never shown."""
        for text, shown in (
            ("redis://a", "redis://a:6379/0"),
            ("rediss://u:secret@[2001:db8::1]:1/2", "rediss://u:(hidden)@[2001:db8::1]:1/2"),
            ("unix://:secret@/r?db=1", "unix://:(hidden)@/r?db=1"),
        ):
            self.assertEqual(str(parse_redis_url(text)), shown)
        self.assertNotIn("secret", repr(parse_redis_url("redis://u:secret@a")))

    def test_bad(self) -> None:
        """A bad URL is refused with a reason that repeats nothing of it."""
        for text, why in (
            ("", "must be redis://"),
            ("secret", "must be redis://"),
            ("http://secret", "must be redis://"),
            ("redis:/secret", "must be redis://"),
            ("redis://", "must have a host name"),
            ("redis://secret!", "must have a host name"),
            ("redis://:secret", "must have a port"),
            ("redis://a:0", "must have a port"),
            ("redis://a:65536", "must have a port"),
            ("redis://a:\u0664", "must have a port"),
            ("redis://a:", "must have a port"),
            ("redis://2001:db8::1", "must have an IPv6 address in brackets"),
            ("redis://[2001:db8::1]secret", "must have an IPv6 address in brackets"),
            ("redis://[2001:db8::g]", "must have a host name"),
            ("redis://a/x", "must have a whole number"),
            ("redis://a/123456", "must have a whole number"),
            ("redis://a/0/secret", "must have a whole number"),
            ("redis://a?db=1", "must have no ?"),
            ("redis://secret@a", "must have USER:PASSWORD"),
            ("redis://u:@a", "must have USER:PASSWORD"),
            ("redis://@a", "must have USER:PASSWORD"),
            ("redis://:secret%@a", "has a % in its password"),
            ("redis://:secret%ff@a", "has a password that is not UTF-8"),
            ("redis://%ff:p@a", "has a user that is not UTF-8"),
            ("redis://:sec/ret@a", "must have no / and ? before the @"),
            ("redis://:sec#ret@a", "must have no #"),
            ("redis://a b", "must have no blanks"),
            ("redis://a\n", "must have no blanks"),
            ("unix://run/secret", "must have the absolute path"),
            ("unix:///run/", "must have the absolute path"),
            ("unix:///run/%00", "must have the absolute path"),
            ("unix:///" + "x" * 107, "must have a path of 107 bytes"),
            ("unix:///r?secret=1", "must have no parameter but db"),
            ("unix:///r?db=x", "must have a whole number"),
        ):
            with self.assertRaises(BadRedisUrl, msg=text) as caught:
                parse_redis_url(text)
            self.assertTrue(str(caught.exception).startswith(why), f"{text}: {caught.exception}")
            self.assertNotIn("secret", str(caught.exception))
