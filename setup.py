"""Make the description that an index page shows; pyproject.toml says everything else.

It is README.md without its links into the repository, which lead nowhere on such a page.
"""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")


def beside(link: "re.Match[str]") -> str:
    """Return a link's text, with the file's path where it is not a place on the same page."""
    text, place = link[1], link[2]
    if place.startswith("#") or place == text:
        return text
    return f"{text} (`{place}` in the source distribution)"


setup(
    long_description=re.sub(r"\[([^\]]+)\]\((?!https?:)([^)]+)\)", beside, README),
    long_description_content_type="text/markdown",
)
