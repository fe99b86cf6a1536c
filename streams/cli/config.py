"""``doorward config``: the settings in force, secrets masked."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from streams.cli import console
from streams.settings import Settings

app = typer.Typer(help="Show the settings in force.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Show the settings in force."""


@app.command("show")
def show(as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False) -> None:
    """Show every DOORWARD_ variable, what it is for, and its value; secrets are masked."""
    settings = console.settings()
    values = json.loads(settings.model_dump_json())
    with console.quiet_pipe():
        if as_json:
            console.out(json.dumps(values))
            return
        for name, field in Settings.model_fields.items():
            value = values[name]
            if isinstance(value, list):
                are_paths = all(isinstance(each, Path) for each in getattr(settings, name))
                value = (os.pathsep if are_paths else ",").join(value)
            value = "" if value is None else str(value)
            described = f"  # {field.description}" if field.description else ""
            console.out(f"DOORWARD_{name.upper()}={value}{described}")
