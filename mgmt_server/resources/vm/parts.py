"""What a machine has from its template's OVA: a disk of each further one in it, and NICs in the order of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from mgmt_server.api.context import Context
from mgmt_server.errors import InvalidValue
from mgmt_server.model.offering import DiskOffering
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import Template
from mgmt_server.model.zone import Zone
from mgmt_server.resources.checks import pairs
from mgmt_server.resources.template import appliance
from mgmt_server.resources.vm.asking import Networks, networks_asked
from mgmt_server.resources.vm.firstdisks import GIB, Disk
from mgmt_server.resources.volume.offerings import check_offering, open_offering

Rows = Sequence[Mapping[str, str]] | None


def disks_of(ctx: Context, template: Template, zone: Zone, rows: Rows) -> list[Disk]:
    """The further disks of a template, each with the offering that was chosen, or one of any size."""
    chosen = pairs("datadiskofferinglist", rows, "datadisktemplateid", "diskofferingid")
    parts = list(appliance.family(ctx.session, template))[1:]
    for uuid in chosen.keys() - {p.uuid for p in parts}:
        raise InvalidValue(f"datadiskofferinglist: datadisktemplateid={uuid[:100]} is no disk of {template.name}")
    _check_ready(ctx, template, parts, zone)
    return [Disk(_offering(ctx, part, zone, chosen.get(part.uuid)), template=part) for part in parts]


def _check_ready(ctx: Context, template: Template, parts: list[Template], zone: Zone) -> None:
    if not parts:
        return
    ready = select(TemplateOnStore.template_id).where(
        TemplateOnStore.template_id.in_([p.id for p in parts]),
        TemplateOnStore.zone_id == zone.id,
        TemplateOnStore.state == "Ready",
        TemplateOnStore.reachable(),
    )
    there = set(ctx.session.scalars(ready))
    missing = ", ".join(p.name for p in parts if p.id not in there)
    if missing:
        raise InvalidValue(
            f"Disks of {template.name} are not ready in the zone {zone.name}: {missing}. See listTemplates"
        )


def _offering(ctx: Context, part: Template, zone: Zone, uuid: str | None) -> DiskOffering:
    if uuid is None:
        found = open_offering(ctx, zone_id=zone.id)
        what = "no disk offering of a custom size is there for it"
    else:
        mine = select(DiskOffering).where(DiskOffering.uuid == uuid, DiskOffering.usable_by(ctx.caller))
        found = ctx.session.scalar(mine.where(DiskOffering.removed.is_(None)))
        what = f"diskofferingid={uuid[:100]} is none that can be used"
    if found is None:
        raise InvalidValue(
            f"The disk {part.name} needs an offering, and {what}: send datadiskofferinglist[0].datadisktemplateid="
            f"{part.uuid} with .diskofferingid"
        )
    check_offering(ctx, found, zone)
    if not found.customized and found.size < part.size:
        raise InvalidValue(
            f"The disk offering {found.name} of {found.size // GIB} GiB is smaller than the disk {part.name} of "
            f"{-(-part.size // GIB)} GiB: choose another one"
        )
    return found


def networks_of(ctx: Context, template: Template, rows: Rows) -> Networks:
    """Networks in the order of the NICs that the OVA describes."""
    nics = appliance.nics_of(template.appliance)
    chosen = pairs("nicnetworklist", rows, "nic", "network")
    told = ", ".join(f"{n.number} ({n.network or n.name})" for n in nics) or "none that is known"
    wrong = sorted(chosen.keys() - {str(n.number) for n in nics})
    if wrong:
        raise InvalidValue(f"nicnetworklist: {template.name} has no NIC {wrong[0][:50]}. Its NICs: {told}")
    missing = [str(n.number) for n in nics if str(n.number) not in chosen]
    if missing:
        raise InvalidValue(
            f"nicnetworklist: the NICs {', '.join(missing)} of {template.name} have no network: name one for each of "
            f"{told}"
        )
    wanted = [{"networkid": chosen[str(n.number)]} for n in nics]
    return networks_asked(ctx, None, wanted, "nicnetworklist")
