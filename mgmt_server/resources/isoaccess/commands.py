"""Which ISOs somebody may use: the list of them, and who may."""

from __future__ import annotations

from typing import Any

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import Rows
from mgmt_server.api.parameters import Operate, Use
from mgmt_server.model.account import Project
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.template import OsCategory, OsType, Template, TemplateInZone
from mgmt_server.model.tenancy import EVERYONE
from mgmt_server.model.zone import Zone
from mgmt_server.resources.template.rules import iso_alone
from mgmt_server.resources.template.views import iso_view
from mgmt_server.resources.templateaccess import permissions
from mgmt_server.resources.templateaccess.seen import chosen_by, scope


@command("listIsos", roles=EVERYONE, answers=iso_view)
def list_isos(
    ctx: Context,
    isofilter: str = "selfexecutable",
    id: Use[Template] | None = None,
    name: str | None = None,
    zoneid: Use[Zone] | None = None,
    bootable: bool | None = None,
    ispublic: bool | None = None,
    isready: bool | None = None,
    hypervisor: str | None = None,
    arch: str | None = None,
    oscategoryid: Use[OsCategory] | None = None,
    imagestoreid: Use[ImageStore] | None = None,
    storageid: Use[Pool] | None = None,
    showunique: bool = False,
    showremoved: bool = False,
    showicon: bool = False,
) -> Rows:
    """List ISOs, once for each zone that they are in.

    isofilter: featured, self, selfexecutable, shared, sharedexecutable, executable, community or all
    id: this one alone
    name: those of this name
    zoneid: those in this zone
    bootable: those that machines may start from, or not
    ispublic: those that everybody may use, or not
    isready: true leaves those whose image is on secondary storage
    hypervisor: accepted; ISOs are for every hypervisor
    arch: x86_64 or aarch64
    oscategoryid: those with an operating system of this category
    imagestoreid: those on this secondary storage
    storageid: those cached on this primary storage
    showunique: each ISO once, not once for each zone
    showremoved: deleted ones too
    showicon: accepted; there are no icons
    """
    conditions = chosen_by(
        ctx, "isofilter", isofilter, isready=isready, store=imagestoreid, pool=storageid, once=showunique
    )
    equal = (
        (Template.format, "ISO"),
        (Template.id, id and id.id),
        (Template.name, name),
        (Template.bootable, bootable),
        (Template.public, ispublic),
        (Template.arch, arch),
        (TemplateInZone.zone_id, zoneid and zoneid.id),
        (OsType.category_id, oscategoryid and oscategoryid.id),
    )
    conditions += [column == value for column, value in equal if value is not None]
    return Rows(iso_view, scope=scope(ctx), narrow=False, removed=showremoved).where(*conditions)


@command("listIsoPermissions", roles=EVERYONE, key="templatepermission", reads=True)
def list_permissions(ctx: Context, id: Operate[Template]) -> dict[str, Any]:
    """Tell which accounts and projects may use an ISO.

    id: the ISO
    """
    return permissions.told(ctx, iso_alone(id))


@command("updateIsoPermissions", roles=EVERYONE)
def update_permissions(
    ctx: Context,
    id: Operate[Template],
    op: str | None = None,
    accounts: list[str] | None = None,
    projectids: list[Use[Project]] | None = None,
    ispublic: bool | None = None,
    isfeatured: bool | None = None,
    isextractable: bool | None = None,
) -> None:
    """Change who may use an ISO.

    id: the ISO
    op: add, remove or reset; reset makes it private
    accounts: names of accounts in the ISO's domain
    projectids: projects
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    """
    flags = {"public": ispublic, "featured": isfeatured, "extractable": isextractable}
    permissions.change(ctx, iso_alone(id), op, accounts, projectids, **flags)
    ctx.describe(f"changing who may use ISO {id.name}")
    ctx.event("ISO.UPDATE", id)
