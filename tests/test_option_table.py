"""Tests of infernet_router.option_table."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.option_table import OPTIONS, Option, variable_of
from infernet_router.option_values import whole_number
from infernet_router.settings import Settings


class OptionTableTests(SynchronousTestCase):
    def test_variables(self) -> None:
        """An option's own variable comes before that of release 1.0.0."""
        self.assertEqual(variable_of("max-polls"), "INFERNET_ROUTER_MAX_POLLS")
        port, ips = (Option(name, str, "", old) for name, old in (("port", "PORT"), ("ips", None)))
        self.assertEqual(port.variables, ("INFERNET_ROUTER_PORT", "PORT"))
        self.assertEqual(ips.variables, ("INFERNET_ROUTER_IPS",))

    def test_row(self) -> None:
        """The help of an option ends with the older variable and the default, if it has them."""
        port = Option("port", whole_number(65535), "port to serve on", "PORT")
        help = "port to serve on; environment variable PORT [default: 4000]"
        self.assertEqual(port.row(), ["port", None, None, help])
        limit = Option("rate-limit", whole_number(9), "requests")
        self.assertEqual(limit.row(), ["rate-limit", None, None, "requests"])

    def test_settings(self) -> None:
        """Each option has a setting, and a default that is taken when it is given as a text."""
        for option in OPTIONS:
            default = getattr(Settings(), option.field)
            if default is not None:
                self.assertEqual(option.read(str(default)), default, option.name)

    def test_names(self) -> None:
        """No two options have a name or a variable in common."""
        names = [option.name for option in OPTIONS]
        variables = [variable for option in OPTIONS for variable in option.variables]
        self.assertEqual(sorted(names), sorted(set(names)))
        self.assertEqual(sorted(variables), sorted(set(variables)))
