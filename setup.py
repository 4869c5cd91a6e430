"""Computes the long description, which setup.cfg cannot; all else is in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup

README = Path("README.md").read_text(encoding="utf-8")
_RELATIVE_LINK = re.compile(r"!?\[([^]]*)\]\((?!https?://)[^)]*\)")
_IMAGE = re.compile(r'<img [^>]*alt="([^"]*)"[^>]*>')

# A package index has none of the files that README.md refers to: their descriptions stay, as text.
setup(long_description=_IMAGE.sub(r"\1.", _RELATIVE_LINK.sub(r"\1", README)))
