"""Tests of infernet_router.sources.dns_hosts; see also those of dns_records."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.sources.dns_hosts import no_record, remember, validity
from infernet_router.sources.dns_messages import AAAA, A


class RememberTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """What a complete answer leaves out is gone."""
        self.assertEqual(list(remember({"a": 3, "b": 3}, "b", complete=True)), ["b"])

    def test_incomplete(self) -> None:
        """What ten incomplete answers in a row leave out is gone."""
        known = remember({}, "ab", complete=True)
        for _ in range(9):
            known = remember(known, "b", complete=False)
            self.assertEqual(set(known), {"a", "b"})
        self.assertEqual(set(remember(known, "b", complete=False)), {"b"})


class ValidityTests(SynchronousTestCase):
    def test_shortest(self) -> None:
        """The record with the shortest time to live decides, within limits."""
        self.assertEqual(validity([60, 30, 90]), 30)
        self.assertEqual(validity([0, 90]), 5)
        self.assertEqual(validity([86400]), 300)

    def test_no_record(self) -> None:
        """An answer without records is valid for the longest time."""
        self.assertEqual(validity([]), 300)


class NoRecordTests(SynchronousTestCase):
    def test_reasons(self) -> None:
        """The reason names the types, and says when there is no such name."""
        self.assertEqual(no_record([A, AAAA], exists=True), "it has no A or AAAA record")
        why = no_record([A], exists=False)
        self.assertEqual(why, "it has no A record: the name does not exist")
