"""The rooms of design §8 as import contracts (pyproject.toml), and the core's purity to the letter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = sorted((ROOT / "streams" / "core").glob("**/*.py"))

# Values and functions over them. Whatever the world knows comes in as an argument.
ALLOWED = {
    *(
        "bisect",
        "collections",
        "datetime",
        "functools",
        "hashlib",
        "operator",
        "re",
        "typing",
        "unicodedata",
        "urllib.parse",
    ),
    *("__future__", "msgspec", "streams.core"),
}
EXEMPT = {"address.py": {"socket": {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}}}
"""Names that are pure though their module is not."""
CLOCKS_AND_DOORS = {"now", "utcnow", "today", "open", "print", "input", "exec", "eval", "__import__"}


def test_arrows_point_one_way() -> None:
    # A process of its own: it configures logging anew and would silence every logger made before.
    program = "import sys; from importlinter.cli import lint_imports as lint; "
    program += "sys.exit(lint(config_filename='pyproject.toml', no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 4 kept, 0 broken." in done.stdout


def imports(path: Path) -> Iterator[tuple[str, set[str]]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, set()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or "", {alias.name for alias in node.names}


def allowed(module: str) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in ALLOWED)


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_imports_values_only(path: Path) -> None:
    exempt = EXEMPT.get(path.name, {})
    for module, names in imports(path):
        assert allowed(module) or (names and names <= exempt.get(module, set())), f"{path.name} imports {module}"


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.name)
def test_core_asks_no_clock_and_opens_nothing(path: Path) -> None:
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert not called & CLOCKS_AND_DOORS


@pytest.mark.parametrize(
    "path", sorted((ROOT / "streams").glob("**/*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())) or not path.read_text().strip()
