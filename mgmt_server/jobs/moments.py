"""Moments at which tests let a server die, as by kill -9: CLOUDWRIGHT_DIE_AT=N ends the process at the Nth of a job.

    CLOUDWRIGHT_DIE_AT=7 CLOUDWRIGHT_DIE_IN=deployVirtualMachine cloudwright serve ...

Off, a moment is one comparison.
"""

from __future__ import annotations

import os
import threading

_left = int(os.environ.get("CLOUDWRIGHT_DIE_AT", "0"))
_command = os.environ.get("CLOUDWRIGHT_DIE_IN", "")
_lock = threading.Lock()


def reached(command: str) -> None:
    if _left:
        _count_down(command)


def _count_down(command: str) -> None:
    global _left
    if _command and command != _command:
        return
    with _lock:
        _left -= 1
        if _left == 0:
            os._exit(9)
