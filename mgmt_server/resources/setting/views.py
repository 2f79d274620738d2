"""Settings as clients see them. They are no rows: a setting is declared where it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mgmt_server.model.settings import Scope, Setting

TYPES = {"Integer": "Number", "Long": "Number", "Float": "Decimal", "Double": "Decimal", "Boolean": "Boolean"}


def shown(setting: Setting, scopes: Sequence[Scope] = (), value: str | None = None) -> dict[str, Any]:
    """A setting with the value that holds in the first of the scopes that has one, or with `value`.

    Secret values are left out.
    """
    kinds = [s.lower() for s in setting.scopes if s != "Global"]
    answer: dict[str, Any] = {
        "category": setting.category,
        "group": setting.group,
        "subgroup": setting.subgroup,
        "name": setting.name,
        "description": setting.description,
        "isdynamic": True,
        "component": setting.component,
        "displaytext": setting.name.replace(".", " ").capitalize(),
        "type": setting.kind or ("Select" if setting.options else TYPES.get(setting.type, "String")),
    }
    if not setting.secret:
        answer["value"] = value if value is not None else setting.text(*scopes)
        answer["defaultvalue"] = setting.default or ""
    if kinds:
        answer["scope"] = ",".join(kinds)
    if setting.options:
        answer["options"] = ",".join(setting.options)
    if setting.parent:
        answer["parent"] = setting.parent
    return answer
