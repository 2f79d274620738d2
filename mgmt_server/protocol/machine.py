"""What the outside world is asked to do with machines, disks and networks.

Sizes are bytes, speeds MHz, addresses text. Names are chosen by the server and identify a thing for good, so that each
request may be repeated: starting what runs, deleting what is gone and creating what exists all succeed.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pool:
    """Primary storage as a host sees it."""

    uuid: str
    type: str  # Filesystem (a directory of the host), NetworkFilesystem
    path: str  # directory on the host, or the export's path on `host`
    host: str = ""  # of the export
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """Secondary storage: an NFS export, or a directory that the reader has."""

    url: str  # nfs://server/path or file:///path
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Authority:
    """A certificate (PEM) that is trusted where images are fetched from. No `agents`: by all."""

    certificate: str
    agents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Direct:
    """How hosts fetch an image from where it was registered: not from secondary storage, where it is not."""

    url: str
    allowed: tuple[str, ...] = ()  # networks of ours that may be fetched from, as CIDRs
    largest: int = 50 << 30  # bytes
    authorities: tuple[Authority, ...] = ()
    redirects: bool = True  # whether the server there may name another URL instead
    dial: float = 10.0  # seconds for a connection
    silence: float = 60.0  # seconds without a byte


@dataclass(frozen=True)
class Image:
    """A template or ISO on secondary storage; with `direct`, wherever that says."""

    uuid: str
    store: Store
    path: str  # below the store, e.g. template/tmpl/2/201/file.qcow2
    format: str  # QCOW2, RAW, ISO
    size: int  # bytes that it takes on the store
    virtual_size: int
    checksum: str = ""  # {ALGORITHM}hex, as registered
    direct: Direct | None = None


@dataclass(frozen=True)
class Disk:
    """A disk of a machine on primary storage: `name` is its file or volume, unique in the pool."""

    name: str
    pool: Pool
    size: int
    device: int = 0  # 0 is the root disk
    backing: str = ""  # name of the cached template in the same pool, empty for a blank disk
    bus: str = "virtio"
    serial: str = ""
    bytes_per_second: int = 0  # 0: no limit; reading and writing together
    operations_per_second: int = 0
    limits: dict[str, int] = field(default_factory=dict)  # bytes_read, bytes_write, iops_read, iops_write, each _max
    cache: str = ""  # none, writeback, writethrough; empty: the host's choice
    provisioning: str = "thin"  # sparse, fat
    io: str = ""  # native, threads, io_uring; empty: the host's choice
    threaded: bool = False  # served by a thread beside the machine's CPUs


@dataclass(frozen=True)
class Nic:
    mac: str
    device: int
    traffic: str  # Guest, Public, Management, Control, Storage
    label: str = ""  # the physical network's label: the bridge on the host; empty: the host's default for that traffic
    broadcast: str = ""  # vlan://untagged, vlan://100, vxlan://5001
    address: str = ""
    netmask: str = ""
    gateway: str = ""
    model: str = "virtio"
    rate: int = 0  # Mbit/s, 0: no limit
    mtu: int = 0
    queues: int = 0  # 0 and 1: one
    packed: bool = False  # packed virtqueues
    rate_by_default: bool = False  # settings say the rate, no offering: a host that cannot limit lets it be


@dataclass(frozen=True)
class Machine:
    """All that a host needs to start a machine."""

    name: str  # i-2-3-VM, r-4-VM
    uuid: str
    kind: str  # User, DomainRouter, SecondaryStorageVm, ConsoleProxy
    cpus: int
    speed: int  # MHz each
    memory: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    os: str = ""  # platform name of the guest OS
    iso: str = ""  # path or URL of an attached ISO; its name in `iso_pool` where that is set
    iso_pool: Pool | None = None
    boot_type: str = "BIOS"  # UEFI
    boot_mode: str = "LEGACY"  # SECURE
    most_cpus: int = 0  # up to which it can be scaled while it runs; 0: it cannot
    most_memory: int = 0
    speed_limit: int = 0  # MHz that each CPU gets at most; 0: whatever is free
    vnc_password: str = ""
    boot_arguments: str = ""  # system VMs: key=value words (reference: system VM boot parameters)
    details: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()  # additional configuration: see protocol/extra.py
    manufacturer: str = ""  # as the guest reads it in its SMBIOS; guests know by `product` where their metadata is
    product: str = ""


@dataclass(frozen=True)
class Move:
    """A disk that changes its pool while its machine migrates."""

    source: Disk
    target: Disk


@dataclass(frozen=True)
class File:
    """A disk's content as a file on secondary storage."""

    store: Store
    path: str  # below the store, e.g. snapshots/2/17/uuid.qcow2
    format: str = "QCOW2"  # RAW


@dataclass(frozen=True)
class Saved:
    """What became of a disk that was saved: sizes in bytes. `whole` tells that it stands on no other file."""

    size: int  # virtual
    physical_size: int
    whole: bool = True
    point: str = ""  # what the disk calls this moment from now on; empty: changes since cannot be followed


@dataclass(frozen=True)
class PoolFile:
    """What lies in a folder of a pool. `modified`: seconds since 1970."""

    name: str
    size: int = 0  # bytes
    modified: int = 0
    folder: bool = False


@dataclass(frozen=True)
class DiskFile:
    """A file of a pool that was looked into. Sizes are bytes."""

    name: str
    format: str = ""  # as its content says: qcow2, raw, vmdk ...
    size: int = 0  # that it takes
    virtual_size: int = 0
    refused: str = ""  # why it must not be taken for a disk; empty: it may be


@dataclass(frozen=True)
class Unmanaged:
    """A machine as its host sees it, whoever started it. Sizes are bytes."""

    name: str
    uuid: str
    state: str
    cpus: int
    memory: int
    os: str = ""
    disks: tuple[UnmanagedDisk, ...] = ()
    nics: tuple[UnmanagedNic, ...] = ()
    vnc_password: str = ""


@dataclass(frozen=True)
class UnmanagedDisk:
    label: str  # vda
    source: str  # path or URL
    size: int
    bus: str = "virtio"
    format: str = "qcow2"
    pool: str = ""  # uuid of the pool in which it lies, empty for none of ours
    name: str = ""  # in that pool


@dataclass(frozen=True)
class UnmanagedNic:
    mac: str
    bridge: str
    model: str = "virtio"
    vlan: int = 0
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineState:
    name: str
    uuid: str
    state: str  # Running, Stopped, Paused, Unknown
    vnc_port: int = 0


@dataclass(frozen=True)
class HostFacts:
    """What a host says of itself when it connects."""

    name: str
    address: str
    hypervisor: str  # KVM, Simulator
    hypervisor_version: str
    cpus: int
    sockets: int
    speed: int
    memory: int
    capabilities: str = "hvm,snapshot"
    os: str = ""
    accelerator: str = ""  # kvm, qemu
    bridges: tuple[str, ...] = ()
    local_pool_path: str = ""
    nfs: str = ""  # mount, libnfs: how this host reaches NFS
    version: str = ""  # of the agent
    clock: str = ""  # ISO time, for the clock check
    limits_nics: bool = True  # its kernel can limit the speed of NICs


@dataclass(frozen=True)
class HostStatistics:
    cpu_used: float  # percent
    memory_used: int
    memory_total: int
    load: float
    network_read: int  # KiB since start
    network_written: int
    pools: dict[str, tuple[int, int]] = field(default_factory=dict)  # uuid -> (bytes used, bytes there)


@dataclass(frozen=True)
class StageResult:
    """What a host's own script for a stage of its maintenance did. `stages`: those for which it has a script."""

    status: int = 0  # as it exited; 0 where there is none
    output: str = ""
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class MachineStatistics:
    name: str
    cpu_used: float  # percent of all its CPUs
    network_read: int  # KiB
    network_written: int
    disk_read: int  # KiB
    disk_written: int
    disk_reads: int
    disk_writes: int
    memory: int  # KiB
    memory_free: int
