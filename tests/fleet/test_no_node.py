"""Tests of infernet_router.fleet.no_node."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.no_node import NoNode, Reason


class NoNodeTests(SynchronousTestCase):
    def test_code(self) -> None:
        """The error has words for the client, and a code for metrics."""
        error = NoNode("no node is known", Reason.NO_NODE_KNOWN)
        self.assertEqual((str(error), error.reason), ("no node is known", "no_node_known"))

    def test_codes(self) -> None:
        """The codes are those that dashboards rely on."""
        self.assertEqual(
            [reason.value for reason in Reason],
            [
                *("no_node_known", "first_polls", "none_up", "not_running", "not_external"),
                *("not_together", "model", "excluded", "drained"),
            ],
        )
