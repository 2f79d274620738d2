"""How disks and NICs of a machine are served by its host: what its details say, in the words of hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mgmt_server.errors import InvalidValue
from mgmt_server.model.settings import Scope, Setting
from mgmt_server.protocol.machine import Disk, Nic

QUEUES, PACKED = "nic.multiqueue.number", "nic.packed.virtqueues.enabled"
THREADS, POLICY = "iothreads", "io.policy"
MOST_QUEUES = 256
POLICIES = ("native", "threads", "io_uring", "storage_specific")
OF_POOL = Setting(
    "kvm.storage.pool.io.policy",
    f"How hosts read and write the pool's disks, of machines with {POLICY}=storage_specific; empty: as they choose",
    options=POLICIES[:-1],
)
FORMS = {
    QUEUES: re.compile(r"-1|[1-9]\d{0,2}"),
    PACKED: re.compile(r"true|false"),
    THREADS: re.compile(r"true|false"),
    POLICY: re.compile("|".join(POLICIES)),
}


def asked(queues: int | None, packed: bool | None, threads: bool | None, policy: str | None) -> dict[str, str]:
    """The details of a deployment's parameters."""
    words = {PACKED: packed, THREADS: threads, QUEUES: queues, POLICY: policy and policy.lower()}
    return {name: str(value).lower() for name, value in words.items() if value is not None}


def check(details: Mapping[str, Any]) -> None:
    """Raises InvalidValue for a value that no host could follow."""
    for name, form in FORMS.items():
        if name in details and not form.fullmatch(str(details[name])):
            raise InvalidValue(f"{name}={str(details[name])[:50]} cannot be: it takes {_takes(name)}")
    if QUEUES in details and int(details[QUEUES]) > MOST_QUEUES:
        raise InvalidValue(f"{QUEUES}={details[QUEUES]} is more than the {MOST_QUEUES} that a NIC can have")


def _takes(name: str) -> str:
    if name == QUEUES:
        return f"1 to {MOST_QUEUES}, or -1 for one queue a CPU"
    return ", ".join(POLICIES) if name == POLICY else "true or false"


def _value(details: Mapping[str, Any], name: str) -> str:
    text = str(details.get(name, ""))
    return text if FORMS[name].fullmatch(text) else ""


def tuned_nic(nic: Nic, details: Mapping[str, Any], cpus: int) -> Nic:
    queues = int(_value(details, QUEUES) or 0)
    wanted = min(MOST_QUEUES, cpus if queues == -1 else queues)
    return replace(nic, queues=wanted, packed=_value(details, PACKED) == "true")


def tuned_disk(disk: Disk, details: Mapping[str, Any], pool_id: int) -> Disk:
    policy = _value(details, POLICY)
    if policy == "storage_specific":
        policy = OF_POOL.text(Scope("StoragePool", pool_id))
    return replace(disk, io=policy, threaded=_value(details, THREADS) == "true")
