"""
Tests of the release: the source release, unpacked in a folder, and a wheel made from it.

With the variable RELEASE, they are those in this folder.
"""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from shutil import which
from zipfile import ZipFile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from benchmarks.loopback.programs import environment
from infernet_router import __version__
from tests.integration.programs import ROOT, Node, Router, until

_QUICK = ("api.test_routes", "fleet", "test_addresses", "test_benchmarks", "test_main", "test_soak")
"""Tests to run from the source release: fast ones of every kind."""


class ReleaseTests(SynchronousTestCase):
    def run_in(self, folder: Path, *command: str) -> str:
        """Run a command, which must succeed; returns its output."""
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_release(self) -> None:
        """The release is complete, and works without the repository."""
        # One test, as concurrent builds in one folder would disturb each other.
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        built = Path(os.environ.get("RELEASE") or folder)
        if built == folder:
            self.run_in(folder, sys.executable, "-m", "build", "--outdir", ".", str(ROOT))
        (archive,) = built.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        source = folder / archive.name.removesuffix(".tar.gz")
        (wheel,) = built.glob("*.whl")
        self.assert_same_package(wheel, source)
        self.assert_described(source)
        self.assert_complete(source)
        self.assert_runs(wheel, folder)
        self.assert_installs(archive, folder)

    def assert_installs(self, archive: Path, folder: Path) -> None:
        """The source release can be installed in place of the wheel."""
        python = str(folder / "venv/bin/python")
        reinstall = ("--force-reinstall", "--no-deps", str(archive))
        self.run_in(folder, python, "-m", "pip", "install", "--quiet", *reinstall)
        version = self.run_in(folder, python, "-m", "infernet_router", "--version")
        self.assertEqual(version, f"infernet-router {__version__}\n")

    def assert_complete(self, source: Path) -> None:
        """The source release has every file of the repository, and its tests pass there."""
        self.run_in(source, sys.executable, "-m", "twisted.trial", "--dry-run", "tests")
        modules = [f"tests.{name}" for name in _QUICK]
        tested = self.run_in(source, sys.executable, "-m", "twisted.trial", *modules)
        self.assertRegex(tested, r"\nPASSED \(successes=\d{2,}\)\n$")
        if (ROOT / ".git").exists():
            names = self.run_in(ROOT, "git", "ls-files").splitlines()
            self.assertEqual([name for name in names if not (source / name).exists()], [])

    def assert_described(self, source: Path) -> None:
        """The long description is README.md, without links and images that an index lacks."""
        description = (source / "PKG-INFO").read_text().partition("\n\n")[2]
        self.assertTrue(description.startswith("# Infernet Router\n"))
        targets = re.findall(r"\]\(([^)]*)\)", description)
        self.assertNotEqual(targets, [])
        self.assertEqual([url for url in targets if not url.startswith("https://")], [])
        self.assertNotIn("<img", description)

    def assert_same_package(self, wheel: Path, source: Path) -> None:
        """The wheel has the packages of the source release, and nothing else."""
        with ZipFile(wheel) as archive:
            names = {name for name in archive.namelist() if ".dist-info/" not in name}
        package = [*source.glob("infernet_router/**/*"), *source.glob("twisted/**/*")]
        files = {str(path.relative_to(source)) for path in package if path.is_file()}
        self.assertEqual(names, files)

    def assert_runs(self, wheel: Path, folder: Path) -> None:
        """Where only the wheel is installed, every command runs the router."""
        self.run_in(folder, sys.executable, "-m", "venv", "venv")
        python, twistd, command = (
            str(folder / "venv/bin" / name) for name in ("python", "twistd", "infernet-router")
        )
        self.run_in(folder, python, "-m", "pip", "install", "--quiet", str(wheel))
        self.run_in(folder, python, "-m", "pip", "check")
        self.assertIn("infernet-router", self.run_in(folder, twistd, "--help"))
        for start in ((twistd, "infernet-router"), (command,), (python, "-m", "infernet_router")):
            version = self.run_in(folder, *start, "--version")
            self.assertEqual(version, f"infernet-router {__version__}\n")
        node = Node(self, folder, "llm")
        (folder / "ips.txt").write_text(node.address)
        router = Router(self, folder, twistd=twistd)
        self.assertEqual(until(lambda: router.pick("llm"), "an answer"), node.address)


class TagTests(SynchronousTestCase):
    """.ci/release in a repository that has what it looks at."""

    def setUp(self) -> None:
        if which("git") is None:
            raise SkipTest("git is missing")
        self.folder = Path(self.mktemp()).absolute()
        for name in (".ci/release", "CHANGELOG.md", "infernet_router/__init__.py"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / ".ci" / "release").write_bytes((ROOT / ".ci" / "release").read_bytes())
        self.write("infernet_router/__init__.py", '__version__ = "2.1.0"\n')
        self.write("CHANGELOG.md", "# Changes\n\n## Unreleased\n\n## 2.1.0.1 (soon)\n\n- new\n")
        self.git("init", "--quiet")
        self.commit()

    def write(self, name: str, text: str) -> None:
        """Write a file of the repository."""
        (self.folder / name).write_text(text)

    def git(self, *command: str) -> None:
        """Run git, which must succeed."""
        author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
        subprocess.run(("git", *author, *command), cwd=self.folder, env=environment(), check=True)

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=A change")

    def assert_stops(self, reason: str) -> None:
        """No release is built, for this reason."""
        done = subprocess.run(
            ("bash", ".ci/release"),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn(reason, done.stdout + done.stderr)
        self.assertFalse((self.folder / "dist").exists())

    def test_tag(self) -> None:
        """A release has its version as the tag, no uncommitted change, and a list of changes."""
        self.assert_stops("release: this commit must have the tag v2.1.0, and has none\n")
        self.git("tag", "v2.1.0.1")
        self.assert_stops("this commit must have the tag v2.1.0, and has v2.1.0.1\n")
        self.git("tag", "v2.1.0")
        self.assert_stops("CHANGELOG.md has no section that begins with '## 2.1.0'\n")
        self.write("CHANGELOG.md", "# Changes\n\n## 2.1.0 (today)\n\n- new\n")
        self.assert_stops("there are changes that are not committed\n")
        self.commit()
        self.git("tag", "--force", "2.1.0")
        self.assert_stops("release: building 2.1.0\n")
