"""Settings of primary storage."""

from mgmt_server.model.settings import Setting

FACTOR = Setting(
    "storage.overprovisioning.factor",
    "How many times a pool's space is promised to disks; they take only what is written to them",
    least=1,
    most=1000,
)
