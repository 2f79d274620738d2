"""Settings of primary storage."""

from mgmt_server.model.settings import Setting

FACTOR = Setting(
    "storage.overprovisioning.factor",
    "How many times a pool's space is promised to disks; they take only what is written to them",
    least=1,
    most=1000,
)
CLEAN = Setting(
    "storage.cleanup.enabled", "Whether what is over leaves pools: destroyed disks, and templates that are gone"
)
