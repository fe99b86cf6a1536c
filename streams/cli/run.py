"""``doorward run``: one worker against real brokers, until a signal ends it."""

from streams.cli import console


def run() -> None:
    """Run a worker; everything it needs comes from DOORWARD_* variables (see `doorward config show`)."""
    settings = console.settings()
    from streams import app  # here: Faust takes most of a second to import, which no other command should wait for

    try:
        app.run(settings)
    except app.Unavailable as exc:
        console.fail(str(exc), console.UNAVAILABLE)
