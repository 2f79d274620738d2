"""What a machine needs of a host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """MHz and bytes, where it may be, and what else decides."""

    zone_id: int
    hypervisor: str
    cpu: int
    memory: int
    pod_id: int | None = None
    cluster_id: int | None = None
    host_id: int | None = None
    disk_clusters: tuple[int, ...] = ()  # what has its disks, if not every host reaches them: it can run there alone
    disk_hosts: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    named: bool = False  # an administrator named the host: of the tags, only strict ones decide
    arch: str = ""
    firmware: str = ""  # uefi or secureboot, which a KVM host has to have; empty: a BIOS, which each has
    account_id: int | None = None  # whose machine it is: it does not go to what is dedicated to others
    vm_id: int | None = None
    grouped: bool = False  # it is in affinity groups
    serves: bool = False  # a router: it needs no group to go to what is dedicated to its account
    avoid: tuple[int, ...] = ()  # hosts that it shall not go to
    planner: str = ""  # empty: as the setting says
    implicit: str = ""  # Strict, Preferred: of implicit dedication
    ha: bool = False  # it is started anew after a failure: hosts kept for that come first
    disabled: bool = False  # it may go to disabled hosts, clusters and pods, whose thresholds nobody minds
    spare: bool = False  # it may have what thresholds keep free: what runs already, and what serves others
