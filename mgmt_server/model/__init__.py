"""What things are: their columns, states and transitions. `everything()` loads all tables."""

from importlib import import_module
from pkgutil import iter_modules


def everything() -> None:
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
