"""The templates that an installation knows before anybody registers one: system VMs, and what simulated hosts run.

They are rows only; `flows.have_system_template` and `flows.have_builtin` say in which zones they are there.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from mgmt_server.model.account import ROOT_DOMAIN, SYSTEM_ACCOUNT
from mgmt_server.model.template import OsType, Template

ORDER = 22
GIB = 1024**3
SYSTEM_KVM, SYSTEM_SIMULATOR, BUILTIN_SIMULATOR = 3, 10, 11
DEBIAN, CENTOS_56 = "Debian GNU/Linux 12 (64-bit)", "CentOS 5.6 (64-bit)"
KNOWN = (
    (SYSTEM_KVM, "routing-3", "SystemVM Template (KVM)", "SYSTEM", "QCOW2", "KVM", DEBIAN, 0),
    (
        SYSTEM_SIMULATOR,
        "simulator-domR",
        "SystemVM Template (simulator)",
        "SYSTEM",
        "VHD",
        "Simulator",
        DEBIAN,
        2 * GIB,
    ),
    (
        BUILTIN_SIMULATOR,
        "simulator-Centos",
        "CentOS 5.6 (64-bit) no GUI (Simulator)",
        "BUILTIN",
        "VHD",
        "Simulator",
        CENTOS_56,
        2 * GIB,
    ),
)


def seed(tx: Session) -> None:
    """Adds those that are missing, by number; one that was deleted stays so."""

    there = set(tx.scalars(select(Template.id).where(Template.id.in_([k[0] for k in KNOWN]))))
    for number, unique_name, name, kind, format, hypervisor, os_name, size in KNOWN:
        if number in there:
            continue
        builtin = kind == "BUILTIN"
        tx.add(
            Template(
                id=number,
                account_id=SYSTEM_ACCOUNT,
                domain_id=ROOT_DOMAIN,
                unique_name=unique_name,
                name=name,
                display_text=name,
                type=kind,
                format=format,
                hypervisor=hypervisor,
                os_type_id=tx.scalar(select(OsType.id).where(OsType.name == os_name).limit(1)),
                public=builtin,
                featured=builtin,
                cross_zones=True,
                requires_hvm=False,
                size=size,
                details={},
            )
        )
    tx.flush()
