"""A guardian: runs one command and takes it down when the program that asked for it is gone.

What may live here: the guardian program itself and the small class by which a parent starts one. Standard library
only, and nothing of this package: the program is run by its path, so it starts in a few hundredths of a second and
works whatever is on `sys.path`.

How it works. The parent starts the guardian with a pipe on its standard input and never writes to it; the guardian
starts the command. A pipe's other end closes when its holder ends, however it ends, kill -9 included. So end of file
on standard input means: the parent is gone (or has let go). Then the command's whole process group gets SIGTERM and,
after a grace, SIGKILL. The other way about, on Linux the kernel kills the command should the guardian be killed.

    parent --pipe--> guardian --child, own session--> command

The guardian stands in a session of its own and ignores SIGINT and SIGHUP: Ctrl-C at a terminal reaches the parent
alone, which can then end its processes in the order it likes.

INVARIANT: nobody but the parent may hold the pipe's writing end. Python makes it close-on-exec, so commands started
later don't; a bare `os.fork` without exec would.

Usage: `python -m streams.dev.guardian [--report FD] [--grace SECONDS] [--remove DIR] -- COMMAND...`. The command's
exit code passes through (128 + signal number when a signal ended it; 127 when it could not be started).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""prctl(2) option: the signal this process gets when its parent ends."""


class Guarded:
    """A command that ends with us, seen from the parent.

    Starting returns once the command runs (or failed to); nothing else here blocks but `wait`.

    Args:
        command: Program and arguments.
        log: File that the command's stdout and stderr are appended to; None lets them through to ours.
        env: The command's environment; None for ours.
        cwd: Its working directory; None for ours.
        grace: Seconds between SIGTERM and SIGKILL when we are gone, or have let go.
        remove: Folder to delete once the command was taken down because we are gone (or let go of it).

    Attributes:
        pid: Process id of the command itself, not of its guardian.

    Raises:
        OSError: The command could not be started; its reason went to the log.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace: float = 5.0,
        remove: Path | None = None,
    ) -> None:
        reader, writer = os.pipe()
        guardian = [sys.executable, "-I", "-S", __file__, "--report", str(writer), "--grace", str(grace)]
        if remove is not None:
            guardian += ["--remove", str(remove)]
        with contextlib.ExitStack() as opened:
            opened.callback(os.close, reader)
            try:
                output = opened.enter_context(log.open("ab")) if log is not None else None
                self._guardian = subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
                    [*guardian, "--", *command],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT if output is not None else None,
                    env=env,
                    cwd=cwd,
                    pass_fds=(writer,),
                    start_new_session=True,
                )
            finally:
                os.close(writer)
            report = os.read(reader, 32)
        if not report:
            raise OSError(f"cannot start {command[0]} (exit code {self.wait()})")
        self.pid = int(report)

    def poll(self) -> int | None:
        """The command's exit code, or None while it runs."""
        return self._guardian.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Blocks until the command has ended.

        Args:
            timeout: Seconds; None waits for ever.

        Returns:
            Its exit code, 128 + n when signal n ended it.

        Raises:
            subprocess.TimeoutExpired: It still runs.
        """
        return self._guardian.wait(timeout)

    def signal(self, number: int) -> None:
        """Sends a signal to the command (not to its group); nothing happens when it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def release(self) -> None:
        """Lets go: SIGTERM, SIGKILL after the grace, then the folder to remove. Returns at once; `wait` waits."""
        if self._guardian.stdin is not None:
            self._guardian.stdin.close()


def _become_child(guardian: int) -> None:
    """Runs in the command's process before exec: plain signals again, and death with the guardian (Linux)."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:  # it died before prctl could arm
            os._exit(127)


def _signal_group(group: int, number: int) -> None:
    # PermissionError: macOS says this of a group in which only unreaped processes are left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _take_down(child: subprocess.Popen[bytes], grace: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    _signal_group(child.pid, signal.SIGCONT)  # a stopped process would sit on its SIGTERM
    deadline = time.monotonic() + grace
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command until it ends or standard input does.

    Args:
        arguments: Command line without the program's name; None for the process's own.

    Returns:
        The command's exit code, 128 + n when signal n ended it, 127 when it could not be started.
    """
    parser = argparse.ArgumentParser(prog="guardian", description="Run a command that ends with us.")
    parser.add_argument("--report", type=int, metavar="FD", help="file descriptor to write the command's pid to")
    parser.add_argument("--grace", type=float, default=5.0, metavar="SECONDS", help="from SIGTERM to SIGKILL")
    parser.add_argument("--remove", type=Path, metavar="DIR", help="folder to delete once the parent is gone")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)

    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    asked: list[int] = []
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # a handler, so that it wakes select

    guardian = os.getpid()
    try:
        child = subprocess.Popen(  # noqa: S603 - running the caller's command is what we are for
            options.command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: _become_child(guardian),  # safe: this program has one thread
        )
    except OSError as error:
        print(f"guardian: cannot start {options.command[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 - a program
        return 127
    if options.report is not None:
        os.write(options.report, b"%d" % child.pid)
        os.close(options.report)

    released = False
    while child.poll() is None:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 512)
        released = asked != [] or (0 in ready and os.read(0, 512) == b"")
        if released:
            _take_down(child, options.grace)
    if options.remove is not None and (released or _at_end(0)):
        shutil.rmtree(options.remove, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _at_end(descriptor: int) -> bool:
    """Whether end of file stands on a descriptor now; never blocks."""
    return bool(select.select([descriptor], [], [], 0)[0]) and os.read(descriptor, 512) == b""


if __name__ == "__main__":
    sys.exit(main())
