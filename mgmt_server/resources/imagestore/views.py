"""Secondary storage as operators see it."""

from __future__ import annotations

from mgmt_server.api.view import View, shown
from mgmt_server.model.storage import ImageStore
from mgmt_server.model.zone import Zone
from mgmt_server.resources.annotation.marks import has_annotations


def _if_known(value: int) -> int | None:
    return value or None


def _view(key: str) -> View:
    return View(
        key,
        ImageStore,
        response="ImageStoreResponse",
        keyword=(ImageStore.name,),
        id=ImageStore.uuid,
        name=ImageStore.name,
        zoneid=Zone.uuid,
        zonename=Zone.name,
        url=ImageStore.url,
        protocol=ImageStore.protocol,
        providername=ImageStore.provider,
        scope=ImageStore.scope,
        readonly=ImageStore.readonly,
        disksizetotal=shown(_if_known, ImageStore.capacity),
        disksizeused=shown(_if_known, ImageStore.used),
        hasannotations=has_annotations("SECONDARY_STORAGE", ImageStore.uuid),
    )


image_store_view = _view("imagestore")
secondary_view = _view("secondarystorage")
