"""Tests of infernet_router.option_help."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.option_help import GROUPS, grouped, hint, unknown_variables
from infernet_router.options import Options

NAMES = ("port", "max-polls", "max-utilization", "log-level", "help")


class GroupedTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every option is in one group, with a word for its value if it takes one."""
        options = Options({})
        takes = {option.rstrip("="): option.endswith("=") for option in options.longOpt}
        grouped = [name for group in GROUPS.values() for name in group]
        self.assertEqual(sorted(grouped), sorted(takes))
        values = {name: bool(value) for group in GROUPS.values() for name, value in group.items()}
        self.assertEqual(values, takes)

    def test_columns(self) -> None:
        """Descriptions are aligned; a long option has a line of its own."""
        names = (name for group in GROUPS.values() for name in group)
        lines = grouped(dict.fromkeys(names, "does " + "this " * 20), 80).splitlines()
        self.assertEqual(
            lines[:2], ["Serve clients:", f"  --port=PORT{' ' * 14}does this" + " this" * 8]
        )
        self.assertIn("  --job-weight=CONTAINER=WEIGHT", lines)
        self.assertLess(max(map(len, lines)), 81)


class HintTests(SynchronousTestCase):
    def assert_hint(self, meant: str, error: str, *given: str) -> None:
        self.assertEqual(hint(error, given, NAMES, ("logfile", "help")), meant)

    def test_misspelt(self) -> None:
        """The nearest option is named, if there is one that is near."""
        self.assert_hint(" (did you mean --max-polls?)", "option --max-pols not recognized")
        self.assert_hint(" (did you mean --log-level?)", "option --LOG_LEVEL=x not recognized")
        self.assert_hint("", "option --qqqqq not recognized")
        self.assert_hint("", "option --port requires argument")

    def test_one_dash(self) -> None:
        """An option with one dash is named with two."""
        meant = " (did you mean --port?)"
        self.assert_hint(meant, "option -p not recognized", "--help", "-port=4000")
        self.assert_hint("", "option -q not recognized", "-q")

    def test_prefix(self) -> None:
        """A beginning that several options have in common is answered with these."""
        both = " (did you mean --max-polls or --max-utilization?)"
        self.assert_hint(both, "option --max not a unique prefix")

    def test_of_twistd(self) -> None:
        """An option of twistd is said to be one."""
        meant = " (it is an option of twistd, which goes before infernet-router)"
        self.assert_hint(meant, "option --logfile not recognized")


class UnknownVariablesTests(SynchronousTestCase):
    def unknown(self, **environ: str) -> list[tuple[str, str]]:
        """The unknown ones of these variables, each with its hint."""
        return list(unknown_variables(environ, "X_", ("PORT", "MAX_POLLS", "ADMIN_TOKEN")))

    def test_misspelt(self) -> None:
        """A variable that nothing reads is named, with one that is near."""
        self.assertEqual(
            self.unknown(X_MAX_POLL="7", X_QQQQQ="1", X_max_polls="7"),
            [
                ("X_MAX_POLL", " (did you mean X_MAX_POLLS?)"),
                ("X_QQQQQ", ""),
                ("X_max_polls", " (did you mean X_MAX_POLLS?)"),
            ],
        )

    def test_known(self) -> None:
        """Those that are read are not named, nor those of others, nor empty ones."""
        self.assertEqual(self.unknown(X_PORT="1", X_ADMIN_TOKEN="s", PORTS="2", X_PORTS=""), [])

    def test_kubernetes(self) -> None:
        """What Kubernetes sets for a service is not named, also of one with a longer name."""
        links = {
            "SERVICE_HOST": "10.0.0.1",
            "SERVICE_PORT": "4000",
            "SERVICE_PORT_HTTP": "4000",
            "PORT": "tcp://10.0.0.1:4000",
            "PORT_4000_TCP": "tcp://10.0.0.1:4000",
            "PORT_4000_TCP_PROTO": "tcp",
            "PORT_4000_TCP_PORT": "4000",
            "PORT_4000_TCP_ADDR": "10.0.0.1",
        }
        for service in ("X", "X_REDIS"):
            linked = {f"{service}_{name}": value for name, value in links.items()}
            self.assertEqual(self.unknown(**linked), [])
        self.assertEqual(len(self.unknown(X_REDIS_PORT="6379")), 1)
