"""Templates of OVAs with several disks: each further disk is a template of its own, of type DATADISK.

Its images come and go with those of its parent, and who may use it follows the parent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.allocation import counted
from mgmt_server.db import new_uuid
from mgmt_server.drivers.image.ovf import Disk, Nic, described
from mgmt_server.errors import InvalidValue
from mgmt_server.model.storage import TemplateOnStore
from mgmt_server.model.template import LaunchPermission, Template
from mgmt_server.resources.template import rows
from mgmt_server.resources.template.bring import Part, path_of

KIND = "DATADISK"
DESCRIPTION = "ovf"  # a detail


def parts_of(tx: Session, template_id: int) -> Sequence[Template]:
    """The further disks of a template's OVA, in their order."""
    mine = select(Template).where(Template.parent_id == template_id, Template.removed.is_(None))
    return tx.scalars(mine.order_by(Template.id)).all()


def family(tx: Session, template: Template) -> Iterator[Template]:
    """A template and the further disks of its OVA."""
    yield template
    if template.appliance:
        yield from parts_of(tx, template.id)


def alone(template: Template, what: str) -> Template:
    """Refuse a part of an OVA where a whole template is meant."""
    if template.parent_id is not None:
        raise InvalidValue(
            f"{template.name} is a disk of another template, by itself it cannot be {what}: see parenttemplateid in "
            "listTemplates"
        )
    return template


def come(tx: Session, image: TemplateOnStore, parts: Sequence[Part], nics: Sequence[Nic]) -> None:
    """The OVA of a template is on a store: its further disks are there too."""
    template = tx.get_one(Template, image.template_id)
    template.appliance = {"disks": len(parts) + 1, "nics": [[n.number, n.name, n.network] for n in nics]}
    known = parts_of(tx, template.id) or [_part(tx, template, number + 1) for number in range(len(parts))]
    for child, part in zip(known, parts, strict=True):  # the same file, by its checksum
        child.size = part.size
        rows.in_zone(tx, child, image.zone_id)
        mine = TemplateOnStore.template_id == child.id, TemplateOnStore.store_id == image.store_id
        row = tx.scalar(select(TemplateOnStore).where(*mine))
        if row is None:
            row = TemplateOnStore(template_id=child.id, store_id=image.store_id, zone_id=image.zone_id)
            tx.add(row)
        counted.image_comes(tx, child, part.physical_size - (row.physical_size or 0))
        row.state, row.progress, row.error, row.path = "Ready", 100, None, part.path
        row.size, row.physical_size = part.size, part.physical_size
    tx.flush()


def simulate(tx: Session, image: TemplateOnStore) -> None:
    """Simulated hosts have no files: what is in an OVA, its description says, which is a detail of the template."""
    template = tx.get_one(Template, image.template_id)
    text = template.details.get(DESCRIPTION)
    if template.format != "OVA" or not text:
        return
    machine = described(str(text).encode())
    root, *more = machine.disks or (Disk("", "", image.size),)
    template.size = image.size = root.size
    parts = [
        Part(disk.name, path_of(image.path, number), disk.size, disk.size) for number, disk in enumerate(more, start=1)
    ]
    come(tx, image, parts, machine.nics)


def _part(tx: Session, parent: Template, number: int) -> Template:
    uuid = new_uuid()
    same = (
        "account_id", "domain_id", "format", "hypervisor", "arch", "os_type_id", "public", "featured", "extractable",
        "requires_hvm", "tag",
    )  # fmt: skip
    child = Template(
        uuid=uuid,
        unique_name=f"{parent.account_id}-{uuid}",
        name=f"{parent.name[:230]}-DataDiskTemplate-{number}",
        display_text=parent.display_text,
        type=KIND,
        parent_id=parent.id,
        bootable=False,
        details={},
        **{column: getattr(parent, column) for column in same},
    )
    tx.add(child)
    tx.flush()
    allowed = select(LaunchPermission.account_id).where(LaunchPermission.template_id == parent.id)
    tx.add_all(LaunchPermission(template_id=child.id, account_id=number) for number in tx.scalars(allowed).all())
    return child


def nics_of(description: dict[str, Any] | None) -> list[Nic]:
    """The NICs of a template's OVA, in their order."""
    return [Nic(*each) for each in (description or {}).get("nics", ())]


def told(description: dict[str, Any] | None) -> dict[str, str] | None:
    """What lists tell of them."""
    found = {
        f"network-{n.number}": json.dumps({"InstanceID": n.number, "elementName": n.name, "name": n.network})
        for n in nics_of(description)
    }
    return found or None
