"""The root of the command line; each group is mounted here and lives in its own file."""

from typing import Annotated

import typer

from streams import __version__
from streams.adapters.iso import vocabulary
from streams.cli import (
    acls,
    config,
    decide,
    demo,
    dev,
    explain,
    geo,
    keys,
    lint,
    policy,
    policydiff,
    policylog,
    policytest,
    replay,
    report,
    retract,
    run,
    schema,
    status,
    top,
    topics,
    verify,
)

app = typer.Typer(
    name="doorward",
    help="Decides, for every person joining an online meeting, admit, remove or alert.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would take "[env: …]" for markup and drop it
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.command("dev")(dev.dev)
app.command("run")(run.run)
app.command("decide")(decide.decide)
app.command("load")(demo.load)
app.command("report")(report.report)
app.command("verify")(verify.verify)
app.command("replay")(replay.replay)
app.command("top")(top.top)
app.command("status")(status.status)
policy.app.command("lint")(lint.lint_documents)
policy.app.command("explain")(explain.explain_joins)
policy.app.command("test")(policytest.try_cases)
policy.app.command("retract")(retract.retract)
policy.app.command("diff")(policydiff.diff)
policy.app.command("show")(policylog.show)
policy.app.command("log")(policylog.log)
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(topics.app, name="topics")
app.add_typer(acls.app, name="acls")
app.add_typer(schema.app, name="schema")
app.add_typer(geo.app, name="geo")
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"doorward {__version__}, {vocabulary().edition}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Doorward."""


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
