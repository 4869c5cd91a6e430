"""Tests of infernet_router.fleet.catalogue."""

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.fleet.catalogue import Catalogue, RunningContainer


class CatalogueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counts = Counter[str]()
        self.catalogue = Catalogue(lambda: list(self.counts), lambda id: self.counts[id])

    @property
    def running(self) -> tuple[RunningContainer, ...]:
        """What it lists, all at once."""
        return tuple(filter(None, self.catalogue.list_running()))

    def test_counts(self) -> None:
        """It lists the containers that run now, sorted by id."""
        self.assertEqual(self.running, ())
        self.counts = Counter({"prover": 1, "llm": 2})
        self.assertEqual(
            self.running,
            (RunningContainer("llm", 2, None), RunningContainer("prover", 1, None)),
        )

    def test_described(self) -> None:
        """A description counts while a node gives it."""
        self.counts = Counter({"llm": 3})
        first = self.catalogue.describe({}, {"llm": "a model"})
        second = self.catalogue.describe({}, {"llm": "a model"})
        third = self.catalogue.describe({}, {"llm": "another"})
        self.assertEqual(self.running, (RunningContainer("llm", 3, "a model"),))
        self.assertEqual(self.catalogue.describe(first, {}), {})
        self.assertEqual(self.running, (RunningContainer("llm", 3, "a model"),))
        second = self.catalogue.describe(second, {"llm": "another"})
        self.assertEqual(self.running, (RunningContainer("llm", 3, "another"),))
        for described in (second, third):
            self.catalogue.describe(described, {})
        self.assertEqual(self.running, (RunningContainer("llm", 3, None),))

    def test_one_copy(self) -> None:
        """Of equal descriptions, one copy is kept."""
        texts = ["-".join(("a", "model")) for _ in range(2)]
        self.assertIsNot(*texts)
        copies = [self.catalogue.describe({}, {"llm": text})["llm"] for text in texts]
        self.assertIs(*copies)

    def test_many(self) -> None:
        """Many containers, or descriptions of one, are listed in steps, each as it is then."""
        self.counts = Counter({f"{number:05}": 1 for number in range(5000)})
        for number in range(5000):
            self.catalogue.describe({}, {"00000": f"text {5000 - number:04}"})
        self.catalogue.describe({}, {"00000": "text 2500"})
        listing = self.catalogue.list_running()
        steps = 0
        while (first := next(listing)) is None:
            steps += 1
        self.assertEqual(steps, 6)
        self.assertEqual(first, RunningContainer("00000", 1, "text 2500"))
        del self.counts["00001"]
        self.assertEqual(sum(each is not None for each in listing), 4998)
