"""Templates as clients see them: once for each zone that they are in."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from sqlalchemy import case, select
from sqlalchemy.orm import Session, aliased

from mgmt_server.api.view import PerPage, View, always, many, only, shown
from mgmt_server.model.storage import ImageStore, Pool, TemplateOnPool, TemplateOnStore
from mgmt_server.model.template import OsType, Template, TemplateInZone
from mgmt_server.model.tenancy import ADMIN, Caller
from mgmt_server.model.userdata import UserData
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations
from mgmt_server.resources.template import appliance
from mgmt_server.resources.views import owner_fields, owner_joins

Parent, Part = aliased(Template, name="parent"), aliased(Template, name="part")
COMPLETE, INSTALLED = "Download Complete", "Successfully Installed"


def _best() -> Any:
    """The image that tells most about a template in a zone: a ready one before one that is on its way."""
    ranked = case((TemplateOnStore.state == "Ready", 0), (TemplateOnStore.state == "Creating", 1), else_=2)
    mine = select(TemplateOnStore.id).where(
        TemplateOnStore.template_id == TemplateInZone.template_id,
        TemplateOnStore.zone_id == TemplateInZone.zone_id,
        TemplateOnStore.state != "Destroying",
        TemplateOnStore.reachable(),
    )
    return mine.order_by(ranked, TemplateOnStore.id).limit(1).correlate(TemplateInZone).scalar_subquery()


class _Downloads:
    """Each image of a template in a zone: on which store or pool it is, and how far."""

    STATES: ClassVar[dict[str, str]] = {"Ready": "DOWNLOADED", "Failed": "DOWNLOAD_ERROR"}

    def children(
        self, session: Session, caller: Caller, parent: Any, ids: list[int]
    ) -> dict[int, list[dict[str, Any]]]:
        here = (TemplateOnStore.template_id == TemplateInZone.template_id) & (
            TemplateOnStore.zone_id == TemplateInZone.zone_id
        )
        rows = (
            select(TemplateInZone.id, TemplateOnStore.state, TemplateOnStore.progress, ImageStore.uuid, ImageStore.name)
            .join(TemplateOnStore, here)
            .join(ImageStore, ImageStore.id == TemplateOnStore.store_id)
            .where(TemplateInZone.id.in_(ids), ImageStore.removed.is_(None), TemplateOnStore.state != "Destroying")
        )
        found: dict[int, list[dict[str, Any]]] = {}
        for number, state, progress, uuid, name in session.execute(rows.order_by(TemplateOnStore.id)):
            told = {
                "datastore": name,
                "datastoreId": uuid,
                "datastoreRole": "Image",
                "downloadPercent": str(progress),
                "downloadState": self.STATES.get(state, "DOWNLOAD_IN_PROGRESS"),
            }
            found.setdefault(number, []).append(told)
        for number, state, uuid, name in session.execute(self._cached(ids)):
            told = {
                "datastore": name,
                "datastoreId": uuid,
                "datastoreRole": "Primary",
                "downloadPercent": "100" if state == "Ready" else "0",
                "downloadState": self.STATES.get(state, "DOWNLOAD_IN_PROGRESS"),
            }
            found.setdefault(number, []).append(told)
        return found

    @staticmethod
    def _cached(ids: list[int]) -> Any:
        rows = (
            select(TemplateInZone.id, TemplateOnPool.state, Pool.uuid, Pool.name)
            .join(TemplateOnPool, TemplateOnPool.template_id == TemplateInZone.template_id)
            .join(Pool, (Pool.id == TemplateOnPool.pool_id) & (Pool.zone_id == TemplateInZone.zone_id))
        )
        return rows.where(TemplateInZone.id.in_(ids), Pool.removed.is_(None)).order_by(TemplateOnPool.id)


def status(state: str | None, progress: int | None, error: str | None) -> str:
    """What clients wait for and show."""
    if state == "Ready":
        return COMPLETE
    if state == "Failed":
        return error or "the download failed"
    if state is None:
        return "not on a secondary storage of this zone yet"
    return f"{progress or 0}% Downloaded" + (f"; {error}" if error else "")


def iso_status(state: str | None, progress: int | None, error: str | None) -> str:
    return INSTALLED if state == "Ready" else status(state, progress, error)


def _ready(state: str | None) -> bool:
    return state == "Ready"


def _size(state: str | None, on_store: int | None, size: int) -> int | None:
    return (on_store or size or None) if state == "Ready" else (size or None)


def _physical(state: str | None, size: int | None) -> int | None:
    return size or None if state == "Ready" else None


def _details(details: dict[str, Any]) -> dict[str, str]:
    return {k: str(v) for k, v in details.items()}


class _Parts:
    """The further disks of templates' OVAs. `number`: the column that holds the template of a row of the view."""

    def __init__(self, table: Any, number: Any) -> None:
        self.table, self.number = table, number

    def __call__(self, session: Session, caller: Caller, ids: list[int]) -> dict[int, dict[str, Any]]:
        rows = (
            select(self.table.id, Part.uuid, Part.name, Part.size, Part.type)
            .join(Part, Part.parent_id == self.number)
            .where(self.table.id.in_(ids), Part.removed.is_(None))
        )
        found: dict[int, dict[str, Any]] = {}
        for number, uuid, name, size, kind in session.execute(rows.order_by(Part.id)):
            told = {"id": uuid, "name": name, "size": size, "templatetype": kind}
            found.setdefault(number, {"childtemplates": []})["childtemplates"].append(told)
        return found


# what the list of ISOs does not tell: they are for every hypervisor, and clients use the one that they are told
OF_TEMPLATES = (
    "hypervisor", "templatetype", "sshkeyenabled", "details", "deployasis", "deployasisdetails", "forcks",
    "requireshvm", "parenttemplateid",
)  # fmt: skip


def _fields(kind: str) -> dict[str, Any]:
    """What is the same in all zones. `kind`: TEMPLATE or ISO."""
    return {
        "id": Template.uuid,
        "name": Template.name,
        "displaytext": Template.display_text,
        "ispublic": Template.public,
        "passwordenabled": Template.password_enabled,
        "sshkeyenabled": Template.ssh_key_enabled,
        "format": Template.format,
        "isfeatured": Template.featured,
        "crossZones": Template.cross_zones,
        "ostypeid": OsType.uuid,
        "ostypename": OsType.name,
        "templatetype": Template.type,
        "hypervisor": Template.hypervisor,
        "isextractable": Template.extractable,
        "checksum": Template.checksum,
        "details": shown(_details, Template.details),
        "arch": Template.arch,
        "bits": always(64 if kind == "ISO" else 0),
        "isdynamicallyscalable": Template.dynamically_scalable,
        "directdownload": Template.direct_download,
        "deployasis": Template.deploy_as_is,
        "deployasisdetails": shown(appliance.told, Template.appliance),
        "parenttemplateid": Parent.uuid,
        "forcks": always(False),
        "requireshvm": Template.requires_hvm,
        "bootable": Template.bootable,
        "url": Template.url,
        "templatetag": Template.tag,
        "userdataid": UserData.uuid,
        "userdataname": UserData.name,
        "userdataparams": UserData.params,
        "userdatapolicy": Template.user_data_policy,
        "hasannotations": has_annotations(kind, Template.uuid),
    }


def _in_zones(key: str, tagged: str, kind: str, told: Any) -> View:
    """Once for each zone."""
    same = {name: value for name, value in _fields(kind).items() if kind != "ISO" or name not in OF_TEMPLATES}
    parent = ((Parent, Parent.id == Template.parent_id),) if kind != "ISO" else ()
    more = (PerPage(("childtemplates",), _Parts(TemplateInZone, TemplateInZone.template_id)),) if kind != "ISO" else ()
    return View(
        key,
        TemplateInZone,
        response="TemplateResponse",
        tagged=tagged,
        tagged_by=Template.uuid,
        keyword=(Template.name, Template.display_text),
        order=(Template.sort_key, Template.id, TemplateInZone.zone_id),
        joins=(
            (Template, Template.id == TemplateInZone.template_id),
            (
                TemplateOnStore,
                (TemplateOnStore.template_id == TemplateInZone.template_id) & (TemplateOnStore.id == _best()),
            ),
            (OsType, OsType.id == Template.os_type_id),
            (UserData, UserData.id == Template.user_data_id),
            (Zone, Zone.id == TemplateInZone.zone_id),
            *parent,
            *owner_joins(TemplateInZone),
        ),
        more=more,
        created=TemplateInZone.created,
        zoneid=Zone.uuid,
        zonename=Zone.name,
        isready=shown(_ready, TemplateOnStore.state),
        status=shown(told, TemplateOnStore.state, TemplateOnStore.progress, TemplateOnStore.error),
        size=shown(_size, TemplateOnStore.state, TemplateOnStore.size, Template.size),
        physicalsize=shown(_physical, TemplateOnStore.state, TemplateOnStore.physical_size),
        downloaddetails=only(ADMIN, many(cast(View, _Downloads()), None)),
        **owner_fields(),
        **same,
    )


def _alone(key: str, tagged: str, kind: str) -> View:
    """What commands answer that are about it in all its zones."""
    return View(
        key,
        Template,
        response="TemplateResponse",
        tagged=tagged,
        joins=(
            (OsType, OsType.id == Template.os_type_id),
            (UserData, UserData.id == Template.user_data_id),
            (Parent, Parent.id == Template.parent_id),
            *owner_joins(Template),
        ),
        more=(PerPage(("childtemplates",), _Parts(Template, Template.id)),),
        created=Template.created,
        **owner_fields(),
        **_fields(kind),
    )


template_view = _in_zones("template", "Template", "TEMPLATE", status)
template_alone_view = _alone("template", "Template", "TEMPLATE")
iso_view = _in_zones("iso", "ISO", "ISO", iso_status)
iso_alone_view = _alone("iso", "ISO", "ISO")
