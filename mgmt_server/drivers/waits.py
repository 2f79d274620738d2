"""How long hosts are waited for where nobody can foresee the end. What is given up is not sent again."""

from __future__ import annotations

from mgmt_server.model.settings import Scope, Setting


def _wait(name: str, text: str) -> Setting:
    return Setting(name, f"Seconds that {text}", least=1)


MIGRATE = _wait("migratewait", "a machine may take to move to another host while it runs; then it stays where it is")
MACHINE = _wait("vmsnapshot.create.wait", "a snapshot of a machine may take, going back to it and deleting it")
CACHE = _wait("primary.storage.download.wait", "a host may take to fetch a template or an ISO into a pool")
OFFLINE = _wait("kvm.storage.offline.migration.wait", "a disk that no machine uses may take to move to another pool")
ONLINE = _wait("kvm.storage.online.migration.wait", "a disk of a running machine may take to move to another pool")
RESTORE = _wait("create.volume.from.snapshot.wait", "a disk may take to be made of a snapshot")
STATISTICS = Setting("stats.timeout", "Milliseconds that a host may take to tell statistics", least=1000)
SAVES = {
    "snapshots": _wait("backup.snapshot.wait", "a snapshot may take to be written to secondary storage"),
    "template": _wait("create.private.template.from.volume.wait", "a template may take to be made of a disk"),
    "volumes": _wait("copy.volume.wait", "a disk may take to be copied to secondary storage, or from there"),
}


def telling(cluster_id: int) -> float:
    """Seconds for statistics of a host of the cluster."""
    return STATISTICS.number(Scope("Cluster", cluster_id)) / 1000


def saving(path: str) -> float:
    """Seconds for a disk that is written to secondary storage, by what it becomes there."""
    return float(SAVES.get(path.split("/")[0], SAVES["volumes"]).number())


def loading(path: str) -> float:
    """Seconds for a disk that is read from secondary storage."""
    return float((RESTORE if path.startswith("snapshots/") else SAVES["volumes"]).number())
