"""Settings of secondary storage, and how this server reaches NFS."""

from sqlalchemy import select

from mgmt_server.db import reading
from mgmt_server.drivers.image import nfs
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.model.storage import ImageStore
from mgmt_server.protocol.download import Limits
from mgmt_server.protocol.machine import Store

ALLOWED = Setting(
    "secstorage.allowed.internal.sites",
    "Networks of ours, as CIDRs, from which images may be fetched although they are private",
)
ACCESS = Setting(
    "nfs.access",
    "How the server reaches NFS: mount (the kernel's client), libnfs (its tools), or auto",
    type="String",
    default="auto",
    scopes=("Global",),
    options=("auto", "mount", "libnfs"),
)

VERSION = Setting(
    "secstorage.nfs.version",
    "The version of NFS with which servers and hosts mount secondary storage the next time; empty: as they agree",
    options=("3", "4", "4.0", "4.1", "4.2"),
)

TOLD = "capacitybytes"  # detail of a store whose size was told, and is not the measured one


def at_host(store: ImageStore) -> Store:
    """A store as hosts are told of it."""
    details = {k: str(v) for k, v in store.details.items()}
    version = VERSION.text(Scope("ImageStore", store.id))
    if version:
        details["nfsmountopts"] = ",".join(o for o in (details.get("nfsmountopts"), f"vers={version}") if o)
    return Store(store.url, details)


def version_of(url: str) -> str:
    """The version with which the store of that URL is mounted; empty where nobody says one."""
    if not VERSION.set_anywhere():
        return ""
    with reading() as session:
        number = session.scalar(select(ImageStore.id).where(ImageStore.url == url, ImageStore.removed.is_(None)))
    return VERSION.text(*([Scope("ImageStore", number)] if number is not None else []))


nfs.use_access(ACCESS.text)
nfs.use_versions(version_of)


def limits(size: int) -> Limits:
    """What a download of an image may be: `size` in bytes."""
    return Limits(tuple(ALLOWED.words()), size)
