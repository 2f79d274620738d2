"""Facts of the protocol: what clients expect each command, parameter and response field to be called and to be.

Source: data/api-facts.json, read off the published interface of release 4.22.1.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import orjson


@cache
def facts() -> dict[str, Any]:
    loaded: dict[str, Any] = orjson.loads(files("mgmt_server.data").joinpath("api-facts.json").read_bytes())
    return loaded


def of_command(name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = facts()["commands"].get(name)
    return found


def fields_of(response: str) -> dict[str, str]:
    """Field name -> type of a response class: string, int, long, bool, date, list<object<X>>, ..."""
    fields = facts()["responses"].get(response)
    if fields is None:
        raise TypeError(f"there is no response class {response}")
    return {name: t if isinstance(t, str) else t["type"] for name, t in fields.items()}


def response_name(command: str) -> str:
    """The outer key of an answer. A few dozen do not follow the command's name."""
    known = of_command(command)
    return known["responseName"] if known and "responseName" in known else f"{command.lower()}response"
