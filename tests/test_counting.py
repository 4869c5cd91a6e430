"""Tests of infernet_router.counting."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.counting import Counts, Histogram


class HistogramTests(SynchronousTestCase):
    def test_buckets(self) -> None:
        """A value counts in the first bucket whose bound it does not exceed."""
        histogram = Histogram((1.0, 2.0))
        for value, bucket in ((0.5, 0), (1.0, 0), (1.5, 1), (3.0, 2)):
            self.assertEqual(histogram.add(value), bucket)
        self.assertEqual((histogram.counts, histogram.total), ([2, 1, 1], 6.0))


class CountsTests(SynchronousTestCase):
    def test_paths(self) -> None:
        """Responses count for the path of a route, however it was written, or for other."""
        counts = Counts()
        counts.name_paths([b"/api/v1/ip"])
        for path in (b"/api/v1/ip", b"//api/v1/ip", b"/api/v1/%69p"):
            counts.answered(path, 200, 0.1)
        for path in (b"/", b"", b"/api/v1/ip/", b"/%ff"):
            counts.answered(path, 404, 0.1)
        self.assertEqual(counts.paths["/api/v1/ip"].codes, {200: 3})
        self.assertEqual(counts.paths["other"].codes, {404: 4})

    def test_example(self) -> None:
        """A bucket wants an example until it has one."""
        counts = Counts()
        histogram, bucket = counts.answered(b"/", 200, 0.1) or self.fail()
        histogram.examples[bucket] = "x", 0.1
        self.assertIsNone(counts.answered(b"/", 200, 0.1))
        self.assertIsNotNone(counts.answered(b"/", 200, 0.9))
