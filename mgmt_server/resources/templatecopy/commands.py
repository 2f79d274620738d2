"""Templates and ISOs where they are needed: copied to other zones, and cached in pools before anybody deploys."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.errors import InvalidValue, ParameterError
from mgmt_server.jobs import Accepted
from mgmt_server.model.storage import Pool
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import EVERYONE, ROOT
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template import appliance, caches, direct
from mgmt_server.resources.template.adding import in_zones
from mgmt_server.resources.template.rules import iso_alone, not_system, template_alone
from mgmt_server.resources.template.views import template_alone_view, template_view
from mgmt_server.resources.templatecopy import flows


@command("copyTemplate", roles=EVERYONE, answers=template_alone_view, event="TEMPLATE.COPY")
def copy_template(
    ctx: Context,
    id: Operate[Template],
    sourcezoneid: Use[Zone] | None = None,
    destzoneid: Use[Zone] | None = None,
    destzoneids: list[Use[Zone]] | None = None,
) -> Accepted:
    """Copy a template to other zones.

    id: the template
    sourcezoneid: from this zone; where it is ready by default
    destzoneid: to this zone
    destzoneids: to these zones
    """
    not_system(appliance.alone(template_alone(id), "copied"))
    return _copy(ctx, id, sourcezoneid, destzoneid, destzoneids)


@command("copyIso", roles=EVERYONE, answers=template_alone_view, event="TEMPLATE.COPY")
def copy_iso(
    ctx: Context,
    id: Operate[Template],
    sourcezoneid: Use[Zone] | None = None,
    destzoneid: Use[Zone] | None = None,
    destzoneids: list[Use[Zone]] | None = None,
) -> Accepted:
    """Copy an ISO to other zones.

    id: the ISO
    sourcezoneid: from this zone; where it is ready by default
    destzoneid: to this zone
    destzoneids: to these zones
    """
    return _copy(ctx, iso_alone(id), sourcezoneid, destzoneid, destzoneids)


def _copy(
    ctx: Context, template: Template, source: Zone | None, one: Zone | None, several: list[Zone] | None
) -> Accepted:
    if one is not None and several:
        raise InvalidValue("destzoneid and destzoneids exclude each other: send one of them")
    targets = list(several or ([one] if one is not None else []))
    if not targets:
        raise ParameterError("destzoneid is missing: name the zone to copy to")
    if source is not None and source.id in {z.id for z in targets}:
        raise InvalidValue("Please specify different source and destination zones.")
    direct.refuse(template, "copied")
    flows.check_source(ctx.session, template, source.id if source is not None else None)
    together = list(appliance.family(ctx.session, template))
    rows = [number for zone in targets for each in together for number in flows.prepared(ctx.session, each, zone)]
    names = ", ".join(z.name for z in targets)
    ctx.describe(f"copying {'ISO' if template.format == 'ISO' else 'template'} {template.name} to {names}")
    return ctx.start(flows.copy_all, template, rows, source.id if source is not None else None)


@command("prepareTemplate", roles=ROOT, answers=template_view)
def prepare(
    ctx: Context, templateid: Use[Template], zoneid: Use[Zone], storageid: Use[Pool] | None = None
) -> list[dict[str, Any]]:
    """Have a template cached in the pools of a zone, so that the first machines start as quickly as the others.

    templateid: the template
    zoneid: the zone
    storageid: in this pool alone
    """
    template_alone(templateid, "templateid")
    for each in appliance.family(ctx.session, templateid):
        caches.start_preparing(ctx.session, each, zoneid, storageid)
    ctx.describe(f"preparing template {templateid.name} in zone {zoneid.name}")
    return in_zones(ctx, templateid, template_view)
