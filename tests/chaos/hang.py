"""A process that hangs and is not dead: its main thread is stopped, all its other threads run on.

No hook in the program is needed: a debugger can stop one thread (ptrace(2), Linux), and that is what a call that never
returns looks like from the others. A thread stopped while it holds Python's lock would stop them all, so the thread is
let go and stopped again until the others are seen to live.
"""

import ctypes
import os
import time
from collections.abc import Callable

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17  # linux/ptrace.h
_WALL = 0x40000000  # wait for threads too; linux/wait.h
_TRIES = 50

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def hang_until_it_ends(pid: int, others_live: Callable[[], bool], limit: float) -> float:
    """Stop a process's main thread for as long as the process lasts. One thread must make the whole call.

    Args:
        pid: the process; not one of a debugger's.
        others_live: whether its other threads do anything; blocks for a second at most.
        limit: seconds until it is let go, alive or not.

    Returns:
        Seconds it took to end; `limit` when it didn't.

    Raises:
        OSError: no right to stop it, or no such process.
        RuntimeError: each time it was stopped it held the lock.
    """
    _ptrace(_SEIZE, pid)
    for _ in range(_TRIES):
        _ptrace(_INTERRUPT, pid)
        os.waitpid(pid, _WALL)
        if others_live():
            break
        _ptrace(_DETACH, pid)
        time.sleep(0.02)
        _ptrace(_SEIZE, pid)
    else:
        _ptrace(_DETACH, pid)
        raise RuntimeError(f"process {pid} always held the lock")
    began = time.monotonic()
    while time.monotonic() - began < limit:
        gone, _ = os.waitpid(pid, _WALL | os.WNOHANG)  # its parent is told only once we were
        if gone:
            return time.monotonic() - began
        time.sleep(0.05)
    _ptrace(_DETACH, pid)
    return limit
