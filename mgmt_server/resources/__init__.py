"""One folder per subject: commands.py (what may be asked), flows.py (how it is done), views.py (what is answered),
and seeds.py where a fresh installation starts with something."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules

from sqlalchemy.orm import Session


def load() -> None:
    """Register every command, flow, timer and setting."""
    for folder in _folders():
        for part in ("commands", "flows", "timers"):
            if find_spec(f"{folder}.{part}"):
                import_module(f"{folder}.{part}")


def seeds() -> list[Callable[[Session], None]]:
    """What fills a fresh database, in the order in which one needs the other (`ORDER` in seeds.py, 50 by default)."""
    found = []
    for folder in _folders():
        if find_spec(f"{folder}.seeds"):
            module = import_module(f"{folder}.seeds")
            found.append((getattr(module, "ORDER", 50), folder, module.seed))
    return [seed for _, _, seed in sorted(found, key=lambda f: f[:2])]


def _folders() -> list[str]:
    return sorted(f"{__name__}.{m.name}" for m in iter_modules(__path__) if m.ispkg)
