"""NOTICE names every package that is installed with Doorward and whose licence asks for more than to be named."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Repoze Public License)\b")
ASKS_FOR_MORE = re.compile(r"GPL|MPL")
NAME = re.compile(r"[A-Za-z0-9_.-]+")


def needed(requirements: list[str], seen: set[str]) -> Iterator[str]:
    """Packages that these requirements bring along; those of other platforms are not installed."""
    for requirement in requirements:
        found = NAME.match(requirement)
        assert found, requirement
        name = found[0].lower()
        if name in seen or "extra ==" in requirement:
            continue
        seen.add(name)
        try:
            below = requires(name) or []
        except PackageNotFoundError:
            continue
        yield name
        yield from needed(below, seen)


def licence(name: str) -> str:
    about = metadata(name)
    classified = " ".join(each for each in about.get_all("Classifier", []) if each.startswith("License"))
    return about.get("License-Expression") or classified or about.get("License") or ""


def test_packages_whose_licence_asks_for_more_are_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    licences = {name: licence(name) for name in needed(asked, set())}
    assert len(licences) > 20
    more = {name for name, text in licences.items() if ASKS_FOR_MORE.search(text) or not PERMISSIVE.search(text)}
    notice = (ROOT / "NOTICE").read_text()
    assert more == set(re.findall(r"^  ([\w-]+): ", notice, re.MULTILINE))
