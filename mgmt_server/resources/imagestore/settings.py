"""Settings of secondary storage, and how this server reaches NFS."""

from mgmt_server.drivers.image import nfs
from mgmt_server.model.settings import Setting
from mgmt_server.protocol.download import Limits

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

TOLD = "capacitybytes"  # detail of a store whose size was told, and is not the measured one

nfs.use_access(ACCESS.text)


def limits(size: int) -> Limits:
    """What a download of an image may be: `size` in bytes."""
    return Limits(tuple(ALLOWED.words()), size)
