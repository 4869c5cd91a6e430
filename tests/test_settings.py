"""Tests of infernet_router.settings."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.settings import Settings
from tests.options_case import parsed


class SettingsTests(SynchronousTestCase):
    def test_shown(self) -> None:
        """All options are shown as JSON can have them, by their names."""
        shown = parsed(
            *("--resolver=192.0.2.1", "--trust-proxy=10.0.0.0/8", "--job-weight=a=2"),
            *("--ips=a.txt", "--node-explorer=http://explorer.invalid"),
        ).shown()
        for name, value in {
            "port": 4000,
            "interval": 3.0,
            "ips": "a.txt",
            "node-explorer": "http://explorer.invalid",
            "resolver": "192.0.2.1:53",
            "trust-proxy": ["10.0.0.0/8"],
            "job-weight": {"a": 2.0},
            "listen": [],
            "rate-limit": None,
            "admin": "tcp:4001:interface=127.0.0.1",
        }.items():
            self.assertEqual(shown[name], value, name)
        self.assertNotIn("ips-given", shown)

    def test_redis(self) -> None:
        """The password for Redis is shown neither in the log nor to operators."""
        settings = parsed("--redis=redis://u:secret@a")
        self.assertEqual(settings.shown()["redis"], "redis://u:(hidden)@a:6379/0")
        self.assertIn(", redis redis://u:(hidden)@a:6379/0", str(settings))
        self.assertNotIn("secret", repr(settings))

    def test_endpoints(self) -> None:
        """The router serves on the port, or instead on the endpoints of --listen."""
        self.assertEqual(parsed("--port", "5000").endpoints, ("tcp:5000",))
        self.assertEqual(parsed("--listen", "tcp6:1").endpoints, ("tcp6:1",))

    def test_flag(self) -> None:
        """An option without a value is shown in the log if it is given."""
        self.assertIn(", wait-for-nodes yes", str(parsed("--wait-for-nodes")))
        self.assertIs(parsed("--wait-for-nodes").shown()["wait-for-nodes"], True)

    def test_default_text(self) -> None:
        """By default, only the main settings are shown."""
        shown = "ips ips.txt, interval 3 s, busy-interval 1.1 s, timeout 3 s, max-polls 500"
        self.assertEqual(str(Settings()), shown)

    def test_text(self) -> None:
        """Settings that differ from the default are shown, but not where the router listens."""
        settings = parsed(
            *("--listen", "ssl:443:privateKey=key.pem", "--ips=a.txt", "--interval=0.5"),
            *("--max-utilization=0.9", "--rate-limit=60", "--ca-file=ca.pem"),
            *("--resources-interval=9", "--resolver", "[2001:db8::1]"),
            *("--node-explorer", "https://explorer.invalid/a/"),
            *("--job-weight=llm=4", "--job-weight=a=0.5", "--pending-weight=onchain=2"),
            *("--trust-proxy=unix", "--trust-proxy=10.0.0.0/8", "--cors-origin=*"),
        )
        self.assertEqual(
            str(settings),
            "ips a.txt, node-explorer https://explorer.invalid/a, resolver [2001:db8::1]:53,"
            " interval 0.5 s, busy-interval 1.1 s, timeout 3 s, max-polls 500,"
            " resources-interval 9 s, max-utilization 0.9, ca-file ca.pem, rate-limit 60/min,"
            " job-weight llm=4 a=0.5,"
            " pending-weight onchain=2, trust-proxy unix 10.0.0.0/8, cors-origin *",
        )
        self.assertIn("resolver 192.0.2.1:5353,", str(parsed("--resolver=192.0.2.1:5353")))

    def test_printable(self) -> None:
        """The text is one printable line, whatever the settings are."""
        text = str(parsed("--ips", "a\nb", "--job-weight", "\udcff=2"))
        self.assertTrue(text.isprintable())
        self.assertIn(r"ips a\nb, ", text)
