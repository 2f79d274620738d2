"""For which domains an offering is, and in which zones: shared by service, disk and network offerings."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, String, and_, delete, func, select

from mgmt_server.api.context import Context
from mgmt_server.api.listing import project_of
from mgmt_server.api.parameters import no_entity
from mgmt_server.errors import InvalidValue
from mgmt_server.model.account import Domain
from mgmt_server.model.offering import OfferedTo
from mgmt_server.model.scopes import of_account
from mgmt_server.model.settings import Setting
from mgmt_server.model.zone import Zone

MAY_TAG = Setting(
    "allow.domain.admins.to.create.tagged.offerings",
    "Whether administrators of domains may make offerings that ask for tags of hosts or storage",
)


def check_tags(ctx: Context, *tags: str | None, gone: bool = False) -> None:
    """Refuse tags, and taking them away (`gone`), to whoever may not say on which hosts and pools machines go."""
    if not (gone or any(tags)) or ctx.caller.is_root:
        return
    if not MAY_TAG.flag(*of_account(ctx.session, ctx.caller.account_id)):
        raise InvalidValue(f"tags are for root administrators: the setting {MAY_TAG.name} lets others ask for them")


def offer(ctx: Context, offering: Any, domains: list[Domain] | None, zones: list[Zone] | None) -> None:
    """Note down for whom a new offering is. What a domain administrator makes is for domains below the own one only."""
    if not ctx.caller.is_root and not domains:
        raise InvalidValue("domainid is missing: only root administrators make offerings for all domains")
    for domain in domains or []:
        ctx.session.add(OfferedTo(offering=offering.uuid, domain_id=_below(ctx, domain).id))
    for zone in zones or []:
        ctx.session.add(OfferedTo(offering=offering.uuid, zone_id=zone.id))
    ctx.session.flush()


def offer_anew(ctx: Context, offering: Any, domains: str | None, zones: str | None) -> None:
    """Change for whom an offering is: ids with commas between, `public` for all domains, `all` for all zones."""
    if domains is not None:
        chosen = [] if domains.lower() == "public" else _rows(ctx, "domainid", Domain, domains)
        if not chosen and not ctx.caller.is_root:
            raise InvalidValue("domainid=public is for root administrators: name domains below your own")
        for domain in chosen:
            _below(ctx, domain)
        _replace(ctx, offering, "domain_id", [d.id for d in chosen])
    if zones is not None:
        chosen = [] if zones.lower() == "all" else _rows(ctx, "zoneid", Zone, zones)
        _replace(ctx, offering, "zone_id", [z.id for z in chosen])


def _replace(ctx: Context, offering: Any, column: str, numbers: list[int]) -> None:
    mine = delete(OfferedTo).where(OfferedTo.offering == offering.uuid, getattr(OfferedTo, column).is_not(None))
    ctx.session.execute(mine.execution_options(synchronize_session=False))
    for number in numbers:
        ctx.session.add(OfferedTo(offering=offering.uuid, **{column: number}))
    ctx.session.flush()


def _rows(ctx: Context, name: str, table: Any, text: str) -> list[Any]:
    wanted = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not wanted:
        raise InvalidValue(f"{name} is empty: send ids, or leave it out")
    mine = select(table).where(table.uuid.in_(wanted), table.usable_by(ctx.caller), table.removed.is_(None))
    found = {row.uuid: row for row in ctx.session.scalars(mine)}
    for uuid in wanted:
        if uuid not in found:
            raise no_entity(name, uuid)
    return [found[uuid] for uuid in wanted]


def _below(ctx: Context, domain: Domain) -> Domain:
    if not ctx.caller.is_root and not domain.path.startswith(ctx.caller.domain_path):
        raise no_entity("domainid", domain.uuid)
    return domain


def usable_in(ctx: Context, offering: Any, domain: Domain | None) -> ColumnElement[bool] | None:
    """Which offerings a list shows for the domain, and for the project, that it names."""
    wanted = [domain] if domain else []
    project = ctx.sent.get("projectid")
    if project and project != "-1":
        wanted.append(ctx.session.get_one(Domain, project_of(ctx, ctx.session, project).domain_id))
    return and_(*(offering.for_domain(d.path) for d in wanted)) if wanted else None


def _joined(column: Any, table: Any, key: Any, offering: Any) -> Any:
    texts = select(func.group_concat(column, type_=String)).join(OfferedTo, key == table.id)
    mine = texts.where(OfferedTo.offering == offering.uuid)
    return mine.correlate(offering.__table__).scalar_subquery()


def scope_fields(offering: Any) -> dict[str, Any]:
    """domainid, domain, zoneid, zone: ids and names with commas between; absent for an offering that is for all."""
    return {
        "domainid": _joined(Domain.uuid, Domain, OfferedTo.domain_id, offering),
        "domain": _joined(Domain.name, Domain, OfferedTo.domain_id, offering),
        "zoneid": _joined(Zone.uuid, Zone, OfferedTo.zone_id, offering),
        "zone": _joined(Zone.name, Zone, OfferedTo.zone_id, offering),
    }
