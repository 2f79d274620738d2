"""Which templates somebody may use: the list of them, and who may."""

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
from mgmt_server.resources.offering.rules import absent
from mgmt_server.resources.template import appliance
from mgmt_server.resources.template.rules import template_alone
from mgmt_server.resources.template.views import template_view
from mgmt_server.resources.templateaccess import permissions
from mgmt_server.resources.templateaccess.seen import chosen_by, scope


@command(
    "listTemplates",
    roles=EVERYONE,
    answers=template_view,
    unsupported=("extensionid",),
)
def list_templates(
    ctx: Context,
    templatefilter: str,
    id: Use[Template] | None = None,
    ids: list[Use[Template]] | None = None,
    name: str | None = None,
    hypervisor: str | None = None,
    zoneid: Use[Zone] | None = None,
    isready: bool | None = None,
    arch: str | None = None,
    templatetype: str | None = None,
    oscategoryid: Use[OsCategory] | None = None,
    imagestoreid: Use[ImageStore] | None = None,
    storageid: Use[Pool] | None = None,
    showunique: bool = False,
    showremoved: bool = False,
    details: list[str] | None = None,
    showicon: bool = False,
    isvnf: bool | None = None,
    parenttemplateid: Use[Template] | None = None,
    forcks: bool = False,
) -> Rows:
    """List templates, once for each zone that they are in.

    templatefilter: featured, self, selfexecutable, shared, sharedexecutable, executable, community or all
    id: this one alone
    ids: these alone
    name: those of this name
    hypervisor: those for this hypervisor
    zoneid: those in this zone
    isready: true leaves those whose image is on secondary storage
    arch: x86_64 or aarch64
    templatetype: USER, VNF, BUILTIN or SYSTEM
    oscategoryid: those with an operating system of this category
    imagestoreid: those on this secondary storage
    storageid: those cached on this primary storage
    showunique: each template once, not once for each zone
    showremoved: deleted ones too
    details: accepted; all details are answered
    showicon: accepted; there are no icons
    isvnf: network appliances, or what is none
    parenttemplateid: the further disks of this template's OVA
    forcks: not supported; false is accepted
    """
    absent(forcks=forcks)
    conditions = chosen_by(
        ctx, "templatefilter", templatefilter, isready=isready, store=imagestoreid, pool=storageid, once=showunique
    )
    conditions.append(Template.format != "ISO")
    if ids:
        conditions.append(Template.id.in_([t.id for t in ids]))
    if isvnf is not None:
        conditions.append((Template.type == "VNF") == isvnf)
    equal = (
        (Template.id, id and id.id),
        (Template.parent_id, parenttemplateid and parenttemplateid.id),
        (Template.name, name),
        (Template.hypervisor, hypervisor),
        (Template.arch, arch),
        (Template.type, templatetype and templatetype.upper()),
        (TemplateInZone.zone_id, zoneid and zoneid.id),
        (OsType.category_id, oscategoryid and oscategoryid.id),
    )
    conditions += [column == value for column, value in equal if value is not None]
    if templatefilter.lower().endswith("executable") and parenttemplateid is None:
        conditions.append(Template.type != appliance.KIND)  # no machine starts from them
    return Rows(template_view, scope=scope(ctx), narrow=False, removed=showremoved).where(*conditions)


@command("listTemplatePermissions", roles=EVERYONE, key="templatepermission", reads=True)
def list_permissions(ctx: Context, id: Operate[Template]) -> dict[str, Any]:
    """Tell which accounts and projects may use a template.

    id: the template
    """
    return permissions.told(ctx, template_alone(id))


@command("updateTemplatePermissions", roles=EVERYONE)
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
    """Change who may use a template.

    id: the template
    op: add, remove or reset; reset makes it private
    accounts: names of accounts in the template's domain
    projectids: projects
    ispublic: whether everybody may use it
    isfeatured: whether it is shown first
    isextractable: whether it may be downloaded
    """
    flags = {"public": ispublic, "featured": isfeatured, "extractable": isextractable}
    permissions.change(ctx, appliance.alone(template_alone(id), "shared"), op, accounts, projectids, **flags)
    ctx.describe(f"changing who may use template {id.name}")
    ctx.event("TEMPLATE.UPDATE", id)
