"""Tests of infernet_router.admin.changing; what is refused, and recorded, is tested in steering."""

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.admin.changing import address_in
from infernet_router.serving.errors import HTTPError


class AddressTests(SynchronousTestCase):
    def test_good(self) -> None:
        """An address is percent-encoded, where it needs to be."""
        for text in ("192.0.2.1:4000", "192.0.2.1%3A4000", "http:%2F%2F192.0.2.1:4000%2f"):
            self.assertEqual(address_in(text).url, "http://192.0.2.1:4000")

    def test_bad(self) -> None:
        """What is no address is a 400."""
        for text, reason in (
            ("", "it is empty"),
            ("%ff", "it is not UTF-8"),
            ("a%20b", "there is a blank inside"),
            ("%00", "it contains a character that no address may have"),
            ("a%252f", ""),
        ):
            with self.assertRaises(HTTPError) as caught:
                address_in(text)
            self.assertEqual(caught.exception.status, 400)
            message = f"this is not the address of a node: {reason}"
            self.assertTrue(str(caught.exception).startswith(message))
