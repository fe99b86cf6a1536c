"""`doorward geo`: looking at geo files before they are used, and handing them to running workers by manifest.

What may live here: options, wording and exit codes. What a manifest says is in `streams.adapters.geomanifest`, how one
is replaced in `streams.adapters.geoadoption`.

Exit codes: 0 all is well, 1 something is wrong with a file, 2 wrong use or no manifest, 3 cannot be read or written.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer

from streams.adapters import geoadoption, geomanifest
from streams.adapters.geo import Geo, open_file
from streams.adapters.geoadoption import Candidate, NotAdopted
from streams.adapters.geomanifest import Canary, Expected, GeoRefused, ManifestFile
from streams.adapters.iso import vocabulary
from streams.adapters.mmdb import GeoDamaged, GeoUnavailable, Mmdb
from streams.cli import console
from streams.core import instants

ANONYMITY_DAYS: Final = 45
"""An older anonymity file does not count for service rules (ruling 33)."""

app = typer.Typer(help="Check geo files and adopt them for running workers.", no_args_is_help=True)

Canaries = Annotated[
    list[str] | None,
    typer.Option(
        "--canary",
        metavar="[NAME@]ADDRESS=FACT:VALUE,...",
        help="What a file must say of an address, such as 8.8.8.8=country:US; null: not known. "
        "Facts: country, subdivision, continent, asn, connection. For every file, or the one called NAME; repeatable.",
        show_default=False,
    ),
]
MaxAge = Annotated[
    int | None,
    typer.Option(
        min=1, help=f"Days since the build. Without it {ANONYMITY_DAYS} for anonymity databases, any for others."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")]


class _Checked(msgspec.Struct):
    """One file, looked at. ``code`` is the exit code it asks for."""

    path: Path
    database: Mmdb | None = None
    canaries: Sequence[Canary] = ()
    problems: list[str] = []
    code: int = 0


@app.command("check")
def check(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE.mmdb]...", show_default=False)] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Check the files of a manifest, as a worker would.", show_default=False)
    ] = None,
    canary: Canaries = None,
    max_age: MaxAge = None,
    as_json: Json = False,
) -> None:
    """Open files, say what they are, look up canaries, and name every problem.

    --json: {"build": as decisions name it or null, "files": [{"file", "name", "build", "age_days", "database_type",
    "ip_version", "records", "bytes", "anonymity", "sha256", "canaries": [{"address", "fact", "expected", "found",
    "holds"}], "problems": ["one line each"]}]}. A file that can't be opened has "file" and "problems" only.
    """
    if bool(files) == bool(manifest) or (manifest and canary):
        console.fail("give files, perhaps with canaries, or --manifest, which has its own", console.BAD_INPUT)
    if manifest is None:
        checked = _check_files(files or [], _canaries(canary), max_age)
    else:
        checked = _check_manifest(manifest, max_age)
    with console.quiet_pipe():
        _show(checked, as_json)
    code = max(each.code for each in checked)
    if code:
        console.say(f"{sum(bool(each.problems) for each in checked)} of {len(checked)} file(s) with problems")
    raise typer.Exit(code)


@app.command("adopt")
def adopt(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.mmdb...", help="All that are to be in use; the first that knows a fact wins."),
    ],
    manifest: Annotated[
        Path, typer.Option(help="What DOORWARD_GEO_MANIFEST names; made if missing.", show_default=False)
    ],
    canary: Canaries = None,
    accept_change: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of live verdicts these files may change. Without it each worker's DOORWARD_GEO_MAX_CHANGE.",
        ),
    ] = None,
    allow_older: Annotated[bool, typer.Option("--allow-older", help="Go back to an older build.")] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help=f"Then remove adopted files not in use, but for the last {geoadoption.KEPT} of each name."
        ),
    ] = False,
    max_age: MaxAge = None,
    as_json: Json = False,
) -> None:
    """Check files, copy them beside the manifest, and name them in it: all or nothing. Workers follow within seconds.

    Canaries stay with a file of the same name; one given anew replaces the earlier one for its address.

    --json: {"manifest", "changed": false where all was so before, "files": as in the manifest,
    "dropped": names no longer in use, "removed": files pruned}.
    """
    given = _canaries(canary)
    checked = _check_files(files, {}, max_age)
    if code := max(each.code for each in checked):
        _stop(
            [
                problem if each.database is None else f"{each.path}: {problem}"
                for each in checked
                for problem in each.problems
            ],
            code,
        )
    candidates = [
        Candidate(each.path, each.database, _of(each.database, given)) for each in checked if each.database is not None
    ]
    _all_used(given, [candidate.database.name for candidate in candidates])
    removed: list[str] = []
    try:
        done = geoadoption.adopt(
            manifest,
            candidates,
            vocabulary(),
            at=time.time_ns() // 1_000_000,
            accept_change=accept_change,
            allow_older=allow_older,
        )
        if prune:
            removed = geoadoption.prune(manifest, vocabulary())
    except NotAdopted as refused:
        _stop(refused.problems, console.FINDING)
    except GeoRefused as error:
        console.fail(str(error), console.BAD_INPUT)
    except GeoUnavailable as error:
        console.fail(str(error), console.UNAVAILABLE)
    with console.quiet_pipe():
        if as_json:
            rows = json.loads(geoadoption.written(done.manifest))["files"]
            row = {"manifest": str(manifest), "changed": done.changed, "files": rows}
            console.out(json.dumps({**row, "dropped": list(done.dropped), "removed": removed}))
        else:
            for entry in done.manifest.files:
                console.out(entry.path)
    for name in done.dropped:
        console.say(f"note: {name} is no longer in use, since it was not given")
    for name in removed:
        console.say(f"removed {name}")
    console.say(f"{manifest}: {'adopted' if done.changed else 'all this was in use before'}")


# -- canaries ----------------------------------------------------------------------------------------------------

_Given = Mapping[str | None, dict[str, Expected]]
"""Canaries by the name of the file they are for; None: for every file."""


def _canaries(texts: Sequence[str] | None) -> _Given:
    """Read --canary options. Ends the command on a bad one."""
    given: dict[str | None, dict[str, Expected]] = {}
    for text in texts or ():
        try:
            left, equals, facts = text.rpartition("=")
            name, at, address = left.rpartition("@")
            if not equals:
                raise ValueError("is not ADDRESS=FACT:VALUE,..., such as 8.8.8.8=country:US")
            group = given.setdefault(name if at else None, {})
            if address in group:
                raise ValueError("its address was given before")
            group[address] = _expected(facts)
            geomanifest.check_canaries(group, vocabulary())
        except ValueError as error:
            console.fail(f"--canary {text}: {error}", console.BAD_INPUT)
    return given


def _expected(facts: str) -> Expected:
    """What ``country:FR,asn:null`` expects. Raises ValueError."""
    said: dict[str, str | int | None] = {}
    for part in facts.split(","):
        fact, colon, value = part.partition(":")
        if not colon or not value:
            raise ValueError(f"{part!r} is not FACT:VALUE")
        if fact in said:
            raise ValueError(f"{fact} stands twice")
        number = fact == "asn" and value.isascii() and value.isdigit()
        said[fact] = None if value == "null" else int(value) if number else value
    return msgspec.convert(said, Expected)


def _of(database: Mmdb, given: _Given) -> dict[str, Expected]:
    """The canaries for one file; those that name it win."""
    return geomanifest.merged(given.get(None, {}), given.get(database.name, {}))


def _all_used(given: _Given, names: Sequence[str]) -> None:
    """End the command where canaries are for a file that is not there: they would check nothing."""
    if strangers := [name for name in given if name is not None and name not in names]:
        message = f"--canary {strangers[0]}@...: no file is called so; there are {', '.join(names)}"
        console.fail(message, console.BAD_INPUT)


# -- checking ----------------------------------------------------------------------------------------------------


def _check_files(files: Sequence[Path], given: _Given, max_age: int | None) -> list[_Checked]:
    checked = [_check(path, None, given, max_age) for path in files]
    if all(each.database for each in checked):
        _all_used(given, [each.database.name for each in checked if each.database])
    return checked


def _check_manifest(path: Path, max_age: int | None) -> list[_Checked]:
    try:
        manifest = geomanifest.read(path, vocabulary())
    except GeoRefused as error:
        console.fail(str(error), console.BAD_INPUT)
    except GeoUnavailable as error:
        console.fail(str(error), console.UNAVAILABLE)
    return [_check(geomanifest.place_of(entry, path), entry, {}, max_age) for entry in manifest.files]


def _check(path: Path, entry: ManifestFile | None, given: _Given, max_age: int | None) -> _Checked:
    """Look at one file, which may be one of a manifest: all that is wrong with it."""
    try:
        if entry is None:
            database = open_file(path, apart=True, count=True)
        else:
            database = geomanifest.open_entry(entry, path, count=True)
    except (GeoDamaged, GeoRefused) as error:
        return _Checked(path, problems=[str(error)], code=console.FINDING)
    except GeoUnavailable as error:
        return _Checked(path, problems=[str(error)], code=console.UNAVAILABLE)
    canaries = _of(database, given) if entry is None else entry.canaries
    looked = geomanifest.look_up(database, canaries, vocabulary())
    problems = [f"canary {canary.address}: {canary.difference}" for canary in looked if not canary.holds]
    age = _age(database)
    limit = max_age or (ANONYMITY_DAYS if _is_anonymity(database) else None)
    if limit and age > limit:
        problems.append(f"built {age} days ago, more than {limit}")
    if age < 0:
        problems.append("its build time lies in the future")
    return _Checked(path, database, looked, problems, console.FINDING if problems else 0)


def _age(database: Mmdb) -> int:
    """Whole days since a file was built."""
    return (datetime.now(UTC) - database.built).days


def _is_anonymity(database: Mmdb) -> bool:
    return Geo([database], vocabulary()).files[0].anonymity


def _stop(problems: Sequence[str], code: int) -> NoReturn:
    for problem in problems:
        console.say(f"doorward: {problem}")
    console.say("nothing was adopted")
    raise typer.Exit(code)


# -- showing -----------------------------------------------------------------------------------------------------


def _show(checked: Sequence[_Checked], as_json: bool) -> None:
    if as_json:
        databases = [each.database for each in checked if each.database]
        build = Geo(databases, vocabulary()).build if len(databases) == len(checked) else None
        console.out(json.dumps({"build": build, "files": [_row(each) for each in checked]}))
        return
    for each in checked:
        console.out(str(each.path))
        row = _row(each)
        if each.database:
            versions = "IPv4 and IPv6" if row["ip_version"] == 6 else "IPv4 only"
            kind = "an anonymity database" if row["anonymity"] else "no anonymity database"
            console.out(f"  {row['name']}: {row['database_type']!r}, {versions}, {kind}")
            console.out(f"  built {row['build']}, {row['age_days']} days ago")
            console.out(f"  {row['records']:,} records, {row['bytes']:,} bytes, SHA-256 {row['sha256']}")
        for canary in each.canaries:
            if canary.holds:
                found = "not known" if canary.found is None else canary.found
                console.out(f"  canary {canary.address}: {canary.fact} is {found}")
        for problem in each.problems:
            console.out(f"  problem: {problem}")


def _row(each: _Checked) -> dict[str, Any]:
    database = each.database
    if database is None:
        return {"file": str(each.path), "problems": each.problems}
    return {
        "file": str(each.path),
        "name": database.name,
        "build": instants.render(int(database.built.timestamp()) * 1000),
        "age_days": _age(database),
        "database_type": database.database_type,
        "ip_version": database.ip_version,
        "records": database.records,
        "bytes": database.size,
        "anonymity": _is_anonymity(database),
        "sha256": database.sha256,
        "canaries": [
            {
                "address": canary.address,
                "fact": canary.fact,
                "expected": canary.expected,
                "found": canary.found,
                "holds": canary.holds,
            }
            for canary in each.canaries
        ],
        "problems": each.problems,
    }
