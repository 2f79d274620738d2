"""Details of machines: which of them people may set, change and see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mgmt_server.api.context import Context
from mgmt_server.errors import InvalidValue
from mgmt_server.model.settings import Setting
from mgmt_server.model.vm import Vm
from mgmt_server.resources.detail import options
from mgmt_server.resources.detail.flows import INTERNAL
from mgmt_server.resources.vm import extra, tuning
from mgmt_server.resources.vm.shape import CHOSEN

DENIED = Setting("user.vm.denied.details", "Details of machines that only root administrators set and see")
READ_ONLY = Setting("user.vm.readonly.details", "Details of machines that users see and do not change")


def given(ctx: Context, details: Mapping[str, str] | None) -> dict[str, str]:
    """Details of a new machine. Raises InvalidValue for such as are not the caller's to set."""
    found = dict(details or {})
    _refuse(found, [k for k in found if extra.is_one(k)], "is told with the parameter extraconfig")
    _refuse(found, ["rootdisksize"], "is told with the parameter of that name")
    tuning.check(found)
    options.check(found)
    _refuse(found, INTERNAL, "is the server's own")
    if not ctx.caller.is_root:
        _refuse(found, DENIED.words(), "is for root administrators")
    return found


def changed(ctx: Context, vm: Vm, details: Mapping[str, str] | None, cleanup: bool) -> dict[str, Any]:
    """A machine's details when these take the place of what it has. What is not the caller's to change stays."""
    wished = {} if cleanup else given(ctx, details)
    kept = {*INTERNAL, *CHOSEN} | (set() if ctx.caller.is_root else {*DENIED.words(), *READ_ONLY.words()})
    for key in CHOSEN:
        if key in wished and wished[key] != str(vm.details.get(key, wished[key])):
            raise InvalidValue(f"details: {key} is changed with scaleVirtualMachine, not here")
    if not ctx.caller.is_root:
        fixed = [k for k in READ_ONLY.words() if k in wished and wished[k] != vm.details.get(k)]
        _refuse(dict.fromkeys(fixed, ""), fixed, "is not to be changed by users")
    if not cleanup:
        kept |= {k for k in vm.details if extra.is_one(k)}
    return {k: v for k, v in wished.items() if k not in kept} | {k: v for k, v in vm.details.items() if k in kept}


def _refuse(details: Mapping[str, str], names: Any, why: str) -> None:
    wrong = sorted(k for k in details if k in set(names))
    if wrong:
        raise InvalidValue(f"details: {', '.join(wrong)} {why}: leave it out")


def shown(details: Mapping[str, Any]) -> dict[str, str]:
    """To root administrators."""
    return {k: str(v) for k, v in details.items() if k not in INTERNAL}


def shown_to_users(details: Mapping[str, Any]) -> dict[str, str]:
    denied = set(DENIED.words())
    return {k: v for k, v in shown(details).items() if k not in denied}
