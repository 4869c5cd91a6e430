"""Tests of infernet_router.api.openapi; tests/integration checks the API against the document."""

import json

from twisted.trial.unittest import SynchronousTestCase

from infernet_router.api.openapi import DESCRIPTION
from infernet_router.api.routes import Api


class DescriptionTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """The document has exactly the paths and methods that are routed."""
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
