"""Tests of infernet_router.fleet.catalogue."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.catalogue import Catalogue, RunningContainer


class CatalogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counter[str]()
        self.catalogue = Catalogue(lambda: self.counts)

    def test_counts(self) -> None:
        """It lists the containers that run now, sorted by id, once it is notified of a change."""
        self.assertEqual(self.catalogue.running, ())
        self.counts = Counter({"prover": 1, "llm": 2})
        self.assertEqual(self.catalogue.running, ())
        self.catalogue.changed()
        self.assertEqual(
            self.catalogue.running,
            (RunningContainer("llm", 2, None), RunningContainer("prover", 1, None)),
        )
        self.assertIs(self.catalogue.running, self.catalogue.running)

    def test_described(self) -> None:
        """A description counts while a node gives it."""
        self.counts = Counter({"llm": 3})
        first = self.catalogue.describe({}, {"llm": "a model"})
        second = self.catalogue.describe({}, {"llm": "a model"})
        third = self.catalogue.describe({}, {"llm": "another"})
        self.assertEqual(self.catalogue.running, (RunningContainer("llm", 3, "a model"),))
        self.assertEqual(self.catalogue.describe(first, {}), {})
        self.assertEqual(self.catalogue.running, (RunningContainer("llm", 3, "a model"),))
        second = self.catalogue.describe(second, {"llm": "another"})
        self.assertEqual(self.catalogue.running, (RunningContainer("llm", 3, "another"),))
        for described in (second, third):
            self.catalogue.describe(described, {})
        self.assertEqual(self.catalogue.running, (RunningContainer("llm", 3, None),))

    def test_one_copy(self) -> None:
        """Of equal descriptions, one copy is kept."""
        texts = ["-".join(("a", "model")) for _ in range(2)]
        self.assertIsNot(*texts)
        copies = [self.catalogue.describe({}, {"llm": text})["llm"] for text in texts]
        self.assertIs(*copies)
