"""Tests of infernet_router.openapi; what it says is put to the test in tests/integration."""

import json

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.api import Api
from infernet_router.openapi import DESCRIPTION


class DescriptionTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """It has every path that is routed, with its methods, and no other."""
        described = {
            (path, method.upper())
            for path, item in json.loads(DESCRIPTION)["paths"].items()
            for method in item
        }
        routed = {
            (rule.rule, method)
            for rule in Api.app.url_map.iter_rules()
            for method in rule.methods or ()
        }
        self.assertEqual(described, routed)
