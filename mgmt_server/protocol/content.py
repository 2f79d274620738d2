"""What the content of an image could be taken for: looked at where it is stored, and where it is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHUNK = 1 << 16


def contents(path: str | Path) -> dict[str, Any]:
    """Everything that a file's content could be taken for, by name. More than one thing is a trap, but for ISOs that
    boot."""
    from oslo_utils.imageutils import format_inspector  # its import costs an agent's start

    with open(path, "rb") as source:
        wrapper = format_inspector.InspectWrapper(source)
        while wrapper.formats is None and wrapper.read(CHUNK):
            pass
        wrapper.close()
        return {str(one): one for one in wrapper.formats or ()}
