"""``doorward schema``: writing the schemas that are made from the code, and finding the ones that drifted."""

from pathlib import Path
from typing import Annotated

import typer

from streams.adapters import schemas
from streams.cli import console

app = typer.Typer(help="Write and check the generated schemas.", no_args_is_help=True)

Folder = Annotated[Path, typer.Option("--out", help="The folder of the schemas.")]


@app.command()
def export(out: Folder = Path("schemas")) -> None:
    """Write every generated schema under a folder; what else lies there is left alone."""
    try:
        for path, text in schemas.schema_files().items():
            file = out / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            console.out(str(file))
    except OSError as exc:
        console.fail(f"--out: cannot write {exc.filename}: {exc.strerror}", console.UNAVAILABLE)


@app.command()
def check(out: Folder = Path("schemas")) -> None:
    """Name each file that is not as the code would write it; exit code 1 if there is one."""
    if not out.is_dir():
        console.fail(f"--out: no folder {out}", console.UNAVAILABLE)
    drifted = schemas.drifted(out)
    for path in drifted:
        console.out(str(out / path))
    if drifted:
        console.fail(f"{len(drifted)} file(s) differ from the code: run `doorward schema export`", console.FINDING)
    console.say("the schemas are as the code says")
