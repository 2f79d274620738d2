"""Settings: what an operator may turn without touching a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of
from mgmt_server.api.parameters import Length, Operate, Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Account, Domain
from mgmt_server.model.groups import DESCRIPTIONS
from mgmt_server.model.settings import Scope, Setting, settings
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.tenancy import ADMIN, DOMAIN_ADMIN, ROOT
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.setting.values import chain, checked, drop, has_scope, keep, named, scope_of, spoken
from mgmt_server.resources.setting.views import shown

Long = Annotated[str, Length(4096)]
TENANTS = ("Domain", "Account")  # what domain administrators may set


def _page(ctx: Context, key: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    if not found:
        return {}
    number, size = page_of(ctx.sent)
    first = (max(number, 1) - 1) * size
    rows = found if size < 0 else found[first : first + size]
    return {"count": len(found), key: rows} if rows else {"count": len(found)}


def _visible(ctx: Context, scope: Scope | None) -> Iterable[Setting]:
    for setting in sorted(settings.values(), key=lambda s: s.name):
        if setting.category == "Hidden":
            continue
        if scope is not None and not has_scope(setting, scope.kind):
            continue
        if not ctx.caller.is_root and not set(TENANTS) & set(setting.scopes):
            continue
        yield setting


@command("listConfigurations", roles=(ADMIN, DOMAIN_ADMIN), key="", reads=True)
def list_settings(
    ctx: Context,
    name: str | None = None,
    category: str | None = None,
    group: str | None = None,
    subgroup: str | None = None,
    parent: str | None = None,
    keyword: str | None = None,
    zoneid: Use[Zone] | None = None,
    clusterid: Use[Cluster] | None = None,
    storageid: Use[Pool] | None = None,
    imagestoreuuid: Use[ImageStore] | None = None,
    domainid: Use[Domain] | None = None,
    accountid: Use[Account] | None = None,
) -> dict[str, Any]:
    """List settings with the values that hold for the whole installation, or in one scope.

    name: this one alone
    category: those of this category
    group: those of this group
    subgroup: those of this subgroup
    parent: those that this setting switches on
    keyword: those with this in their name
    zoneid: those that a zone may have of its own, with this zone's values
    clusterid: likewise of a cluster
    storageid: likewise of a primary storage pool
    imagestoreuuid: likewise of a secondary storage
    domainid: likewise of a domain
    accountid: likewise of an account
    """
    scope = scope_of(
        None, Zone=zoneid, Cluster=clusterid, StoragePool=storageid, ImageStore=imagestoreuuid, Domain=domainid,
        Account=accountid,
    )  # fmt: skip
    if scope is None and not ctx.caller.is_root:
        scope = Scope("Domain", ctx.caller.domain_id)
    wanted = {"name": name, "category": category, "group": group, "subgroup": subgroup, "parent": parent}
    scopes = chain(ctx.session, scope)
    found = [
        shown(s, scopes)
        for s in _visible(ctx, scope)
        if all(v is None or getattr(s, k).lower() == v.lower() for k, v in wanted.items())
        and (keyword is None or keyword.lower() in s.name.lower())
    ]
    return _page(ctx, "configuration", found)


@command("listConfigurationGroups", roles=ROOT, key="", reads=True)
def list_groups(ctx: Context, group: str | None = None, keyword: str | None = None) -> dict[str, Any]:
    """List the groups of settings.

    group: this one alone
    keyword: those with this in their name
    """
    groups: dict[str, set[str]] = {}
    for setting in _visible(ctx, None):
        groups.setdefault(setting.group, set()).add(setting.subgroup)
    found = [
        {
            "name": name,
            "description": told,
            "precedence": n,
            "subgroup": [{"name": s, "precedence": m} for m, s in enumerate(sorted(groups[name]), 1)],
        }
        for n, (name, told) in enumerate(DESCRIPTIONS.items(), 1)
        if name in groups
        and (group is None or group.lower() == name.lower())
        and (keyword is None or keyword.lower() in name.lower())
    ]
    return _page(ctx, "configurationgroup", found)


@command("updateConfiguration", roles=(ADMIN, DOMAIN_ADMIN), key="configuration", event="CONFIGURATION.VALUE.EDIT")
def update(
    ctx: Context,
    name: str,
    value: Long | None = None,
    zoneid: Operate[Zone] | None = None,
    clusterid: Operate[Cluster] | None = None,
    storageid: Operate[Pool] | None = None,
    imagestoreuuid: Operate[ImageStore] | None = None,
    domainid: Operate[Domain] | None = None,
    accountid: Operate[Account] | None = None,
) -> dict[str, Any]:
    """Give a setting a value, for the whole installation or in one scope. It holds within seconds on every server.

    name: the setting
    value: its new value
    zoneid: for this zone alone
    clusterid: for this cluster alone
    storageid: for this primary storage pool alone
    imagestoreuuid: for this secondary storage alone
    domainid: for this domain alone
    accountid: for this account alone
    """
    setting = named(name)
    if value is None and setting.type == "String":
        value = ctx.sent.get("value")  # an empty text is a value too
    if value is None:
        raise InvalidValue(f"The new value for the [{setting.name}] configuration must be given: send value")
    scope = scope_of(
        setting, Zone=zoneid, Cluster=clusterid, StoragePool=storageid, ImageStore=imagestoreuuid, Domain=domainid,
        Account=accountid,
    )  # fmt: skip
    _may(ctx, setting, scope)
    kept = checked(setting, value)
    before = keep(ctx.session, setting, scope, kept)
    told = "to a new value"
    if not setting.secret:
        told = f"from '{before if before is not None else setting.text(*chain(ctx.session, scope)[1:])}' to '{kept}'"
    ctx.describe(f"changing setting {setting.name}{spoken(ctx.session, scope)} {told}")
    return shown(setting, value=kept)


@command("resetConfiguration", roles=ROOT, key="configuration", event="CONFIGURATION.VALUE.EDIT")
def reset(
    ctx: Context,
    name: str,
    zoneid: Operate[Zone] | None = None,
    clusterid: Operate[Cluster] | None = None,
    storageid: Operate[Pool] | None = None,
    imagestoreid: Operate[ImageStore] | None = None,
    domainid: Operate[Domain] | None = None,
    accountid: Operate[Account] | None = None,
) -> dict[str, Any]:
    """Take back what was set: the default holds again, or in a scope what holds for the whole installation.

    name: the setting
    zoneid: for this zone
    clusterid: for this cluster
    storageid: for this primary storage pool
    imagestoreid: for this secondary storage
    domainid: for this domain
    accountid: for this account
    """
    setting = named(name)
    scope = scope_of(
        setting, Zone=zoneid, Cluster=clusterid, StoragePool=storageid, ImageStore=imagestoreid, Domain=domainid,
        Account=accountid,
    )  # fmt: skip
    before = drop(ctx.session, setting, scope)
    now = setting.text(*chain(ctx.session, scope)[1:]) if scope else (setting.default or "")
    told = "" if setting.secret or before is None else f" from '{before}' to '{now}'"
    ctx.describe(f"resetting setting {setting.name}{spoken(ctx.session, scope)}{told}")
    return shown(setting, value=now)


def _may(ctx: Context, setting: Setting, scope: Scope | None) -> None:
    if not ctx.caller.is_root and (scope is None or scope.kind not in TENANTS):
        raise InvalidValue(f"only root administrators set {setting.name} there: name a domain or an account of yours")
