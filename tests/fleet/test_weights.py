"""Tests of infernet_router.fleet.weights; what they do to loads is tested there."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.weights import Weights


class WeightsTests(SynchronousTestCase):
    def test_default(self) -> None:
        """Each container of a job costs 1, and so does each pending job."""
        self.assertEqual(Weights().of_job(("llm", "prover")), 2.0)
        self.assertEqual(Weights().of_pending({"offchain": 3, "onchain": 1}), 4.0)

    def test_given(self) -> None:
        """What is listed costs what it says, the rest 1."""
        weights = Weights({"llm": 4.0}, {"onchain": 0.0})
        self.assertEqual(weights.of_job(("llm", "prover")), 5.0)
        self.assertEqual(weights.of_pending({"offchain": 3, "onchain": 7}), 3.0)
