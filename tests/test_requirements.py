"""Tests of requirements/: versions are pinned, with hashes, and are ones that setup.cfg allows."""

import re
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from packaging.requirements import Requirement
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"

_ENTRY = re.compile(r"([a-z0-9-]+)==(\S+)( ; [^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n")


def wanted(name: str) -> Iterator[Requirement]:
    """What the router, or one of its extras, needs directly."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    extra = "redis" if name == "router" else name  # the image has the clients for Redis
    texts = [config["options"]["install_requires"], config["options.extras_require"][extra]]
    return (Requirement(line) for text in texts for line in text.split("\n") if line)


def pinned(name: str) -> dict[str, str]:
    """The versions in one file, by package."""
    text = (FOLDER / f"{name}.txt").read_text()
    return {entry[1]: entry[2] for entry in _ENTRY.finditer(text)}


class RequirementsTests(SynchronousTestCase):
    def assert_allowed(self, name: str, requirements: Iterator[Requirement]) -> None:
        """Each requirement has a version that is good; otherwise, run `make lock`."""
        versions = pinned(name)
        for requirement in requirements:
            package = re.sub(r"[-_.]+", "-", requirement.name).lower()
            self.assertIn(package, versions, f"requirements/{name}.txt: run make lock")
            good = requirement.specifier.contains(versions[package])
            self.assertTrue(good, f"requirements/{name}.txt, {package}: run make lock")

    def test_current(self) -> None:
        """Everything that setup.cfg and pyproject.toml name is pinned, at a version they allow."""
        for name in ("router", "dev", "release"):
            self.assert_allowed(name, wanted(name))
        system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
        self.assert_allowed("build", map(Requirement, system["requires"]))

    def test_hashes(self) -> None:
        """Each file has packages with versions and hashes, and no address of any registry."""
        files = sorted(FOLDER.iterdir())
        self.assertEqual(
            [file.name for file in files], ["build.txt", "dev.txt", "release.txt", "router.txt"]
        )
        for file in files:
            rest = _ENTRY.sub("", file.read_text())
            self.assertEqual([line for line in rest.splitlines() if line[:1] != "#"], [])
            self.assertNotIn("://", rest)

    def test_agree(self) -> None:
        """What is tested is what is in the image."""
        router, dev = pinned("router"), pinned("dev")
        self.assertEqual({name: dev.get(name) for name in router}, router)
