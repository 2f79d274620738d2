"""What lies in pools, file by file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.parameters import Use
from mgmt_server.api.view import date
from mgmt_server.drivers.storage import dispatch as disks
from mgmt_server.model.storage import Pool, TemplateOnPool
from mgmt_server.model.template import Template
from mgmt_server.model.tenancy import ROOT
from mgmt_server.model.vm import Volume
from mgmt_server.protocol.machine import PoolFile
from mgmt_server.resources.storage import rows
from mgmt_server.resources.volume.places import host_of

Known = Mapping[str, Mapping[str, str]]  # what is known of files, by name: volumeid, volumename, templateid ...


@command("listStoragePoolObjects", roles=ROOT, key="", outside=True)
def list_objects(ctx: Context, id: Use[Pool], path: str = "") -> dict[str, Any]:
    """List the files of primary storage, as a host that reaches it finds them.

    id: the pool
    path: a folder in it; its top one by default
    """
    host = rows.ref(host_of(ctx.session, id))
    found = disks.files(host, rows.as_seen(id), path)
    known = {} if path.strip("/") else _known(ctx.session, id)
    return page_of_objects(ctx, "datastoreobject", shown(found, known))


def shown(files: Sequence[PoolFile], known: Known) -> list[dict[str, Any]]:
    """Files as clients see them."""
    return [
        {
            "name": file.name,
            "isdirectory": file.folder,
            "size": file.size,
            "lastupdated": date(datetime.fromtimestamp(file.modified, UTC).replace(tzinfo=None)),
        }
        | known.get(file.name, {})
        for file in files
    ]


def _known(tx: Session, pool: Pool) -> Known:
    mine = select(Volume.path, Volume.uuid, Volume.name).where(Volume.pool_id == pool.id, Volume.removed.is_(None))
    found = {path: {"volumeid": uuid, "volumename": name, "format": "QCOW2"} for path, uuid, name in tx.execute(mine)}
    cached = select(TemplateOnPool.name, Template.uuid, Template.name)
    cached = cached.join(Template, Template.id == TemplateOnPool.template_id).where(TemplateOnPool.pool_id == pool.id)
    return {p or "": told for p, told in found.items()} | {
        path: {"templateid": uuid, "templatename": name} for path, uuid, name in tx.execute(cached)
    }
