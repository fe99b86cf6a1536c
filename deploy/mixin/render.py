"""Render the mixin: ``python deploy/mixin/render.py`` writes what is committed under ``rendered/``.

``--check`` writes nothing and is exit code 1 where a file is not what it would be. A deployment renders its own file
(README.md) with ``render.py OURS.jsonnet --out FOLDER``. The ``jsonnet`` command does the same:
``jsonnet -S -c -m rendered render.jsonnet``.
"""

import argparse
import json
import sys
from pathlib import Path

import _gojsonnet

HERE = Path(__file__).resolve().parent


def render(entry: Path) -> dict[str, str]:
    """What the files say, by their names below the output folder. Raises RuntimeError for faulty jsonnet."""
    return json.loads(_gojsonnet.evaluate_file(str(entry)))


def main() -> int:
    """Render, or check."""
    parser = argparse.ArgumentParser(description="Render rules, alerts and dashboards.")
    parser.add_argument("entry", nargs="?", type=Path, default=HERE / "render.jsonnet", help="what to render")
    parser.add_argument("--out", type=Path, default=HERE / "rendered", help="where to")
    parser.add_argument("--check", action="store_true", help="only say which files differ")
    asked = parser.parse_args()
    differ = []
    for name, text in render(asked.entry).items():
        file = asked.out / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        differ.append(name)
        if not asked.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    for name in differ:
        print(f"{name}: {'differs' if asked.check else 'written'}", file=sys.stderr)  # noqa: T201 - a program
    return int(asked.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
