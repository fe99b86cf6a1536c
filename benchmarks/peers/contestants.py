"""The peers, and how each is had, started and read: all that the comparison has to know of one.

A peer is one process, told everything by its environment: brokers, group, a folder of plain policies, the geo file, the
codes of ISO 3166, the key that seals and stamps, the topic of its decisions and, where it is to remember
participations, a folder for state.
It reads ``joins`` from its group's offset, or the beginning, commits every half second what all replicas have the
answer to, and ends on SIGTERM.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from benchmarks.peers import raw_aiokafka
from benchmarks.stage import WORKER
from streams.app import SESSIONS

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
QUIX_ENVIRONMENT: Final = ROOT / ".venv-quix"
QUIX_LOCK: Final = HERE / "quix" / "requirements.lock"
JAVA_PROJECT: Final = HERE / "kafkastreams"
JAR: Final = JAVA_PROJECT / "target" / "peer.jar"


class LeftOut(Exception):
    """A peer cannot be had here. The message says why."""


@dataclass(frozen=True)
class Peer:
    """One engine.

    Attributes:
        name: for people, and for ``--only``.
        command: makes what it needs, and returns the command line; raises LeftOut.
        stateless, stateful: which of the two jobs it does.
        changelog: by group, the topic of its sessions.
        ours: whether that has to be made for it.
        subject: from a changelog's key to the participation's subject.
        is_worker: whether it is the worker itself, which reads signed policies and knows its topics' names.
        is_slow: whether it gets fewer events.
    """

    name: str
    command: Callable[[], Sequence[str]]
    stateless: bool = True
    stateful: bool = True
    changelog: Callable[[str], str] = "{}-sessions-changelog".format
    ours: bool = False
    subject: Callable[[bytes], bytes] = bytes
    is_worker: bool = False
    is_slow: bool = False


def _module(name: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", f"benchmarks.peers.{name}"]


# -- Quix Streams ------------------------------------------------------------------------------------------------


def quix_python() -> Path:
    """The Python of a virtual environment with Quix Streams, made from its lock file where there is none.

    It has one of its own, as its pins exclude versions that Doorward has. ``QUIX_ENVIRONMENT`` names another folder.

    Raises:
        LeftOut: it cannot be made.
    """
    folder = Path(os.environ.get("QUIX_ENVIRONMENT", QUIX_ENVIRONMENT))
    python = folder / "bin" / "python"
    made = folder / ".made"
    if made.exists() and made.stat().st_mtime >= QUIX_LOCK.stat().st_mtime:
        return python
    print(f"making {folder.name} from {QUIX_LOCK.name}", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*pip, "-r", str(QUIX_LOCK)], check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise LeftOut(f"its virtual environment cannot be made: {exc}") from None
    made.touch()
    return python


def _quix() -> Sequence[str]:
    return [str(quix_python()), "-m", "benchmarks.peers.quix"]


# -- Kafka Streams -----------------------------------------------------------------------------------------------


def newest_java() -> tuple[int, Path]:
    """The newest JDK on this machine: its feature release and ``java``. Raises LeftOut."""
    homes = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    if found := shutil.which("javac"):
        homes.append(Path(found).resolve().parents[1])
    homes += sorted(Path("/usr/lib/jvm").glob("*"))  # where Linux distributions keep them
    kits = {release: home / "bin" / "java" for home in homes if (release := _release(home))}
    if not kits:
        raise LeftOut("there is no JDK")
    newest = max(kits)
    return newest, kits[newest]


def _release(home: Path) -> int:
    """The feature release of a JDK; 0 of what is none."""
    notes = home / "release"
    if not (home / "bin" / "javac").exists() or not notes.exists():
        return 0
    named = re.search(r'^JAVA_VERSION="(\d+)', notes.read_text(), re.MULTILINE)
    return int(named[1]) if named else 0


def _kafka_streams() -> Sequence[str]:
    release, java = newest_java()
    if release < 17:
        raise LeftOut(f"its newest JDK is {release}, and 17 is needed")
    sources = [JAVA_PROJECT / "pom.xml", *(JAVA_PROJECT / "src").rglob("*")]
    if not JAR.exists() or JAR.stat().st_mtime < max(file.stat().st_mtime for file in sources):
        maven = shutil.which("mvn")
        if maven is None:
            raise LeftOut("there is no Maven to build it")
        print("building the Kafka Streams peer", flush=True)
        home = {**os.environ, "JAVA_HOME": str(java.parents[1])}
        if subprocess.run([maven, "-q", "package"], cwd=JAVA_PROJECT, env=home).returncode:
            raise LeftOut("Maven could not build it")
    return [str(java), f"@{JAVA_PROJECT / 'jvm.options'}", "-jar", str(JAR)]


# -- all of them -------------------------------------------------------------------------------------------------


def _after_meeting(key: bytes) -> bytes:
    """Quix Streams puts the message's key, here the meeting, before a state's key, and a bar between."""
    return key.rpartition(b"|")[2]


RAW: Final = "raw aiokafka"
PEERS: Final = [
    Peer(RAW, _module("raw_aiokafka"), changelog=lambda group: raw_aiokafka.CHANGELOG, ours=True),
    Peer("doorward", lambda: WORKER, stateless=False, changelog=lambda group: SESSIONS, is_worker=True),
    Peer("doorward stateless", _module("stateless"), stateful=False),
    Peer("kafka streams", _kafka_streams),
    Peer("quix streams", _quix, changelog="changelog__{}--joins--default".format, subject=_after_meeting),
    Peer("stock faust", _module("stock_faust"), is_slow=True),
]


def versions() -> str:
    """What the peers are versions of, for the notes below a table."""
    parts = [f"{name} {version(name)}" for name in ("aiokafka", "faust-streaming")]
    if quix := re.search(r"^quixstreams==(\S+)", QUIX_LOCK.read_text(), re.MULTILINE):
        parts.append(f"quixstreams {quix[1]}")
    with suppress(LeftOut):
        streams = re.search("<kafka.version>(.*)</kafka.version>", (JAVA_PROJECT / "pom.xml").read_text())
        parts.append(f"kafka-streams {streams[1] if streams else '?'} on JDK {newest_java()[0]}")
    return ", ".join(parts)
