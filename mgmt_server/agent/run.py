"""Running programs of the host: argument lists, never a shell; what they complain of becomes the error."""

from __future__ import annotations

import subprocess

from mgmt_server.errors import Failed

MEMORY = 2 << 30  # bytes of address space, for programs that read what users brought
CPU = 60  # seconds of CPU, likewise


def run(argv: list[str], timeout: float = 60.0, *, limited: bool = False, fine: tuple[int, ...] = (0,)) -> str:
    """Its standard output. `limited`: with bounds on memory and CPU. Raises Failed with what it said when it ends with
    a code that is not `fine`."""
    if limited:
        argv = ["prlimit", f"--as={MEMORY}", f"--cpu={CPU}", "--core=0", "--", *argv]
    name = argv[argv.index("--") + 1] if limited else argv[0]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise Failed(f"{argv[0]} is not installed on this host") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"{name} did not end within {timeout:g} s") from None
    if done.returncode not in fine:
        words = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise Failed(f"{' '.join(argv[argv.index(name) :][:3])}: {words[-500:] or f'exit code {done.returncode}'}")
    return done.stdout.decode(errors="replace")
