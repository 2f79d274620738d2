"""UEFI for machines: where this host keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mgmt_server.errors import Failed

# (code, variables) of Debian's ovmf, then of edk2-ovmf
PLAIN = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)
SECURE = (
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/OVMF/OVMF_CODE.secboot.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
)


@dataclass(frozen=True)
class Firmware:
    code: str
    variables: str  # the template of each machine's own
    secure: bool = False


def choose(boot_type: str, boot_mode: str) -> Firmware | None:
    """None for a BIOS. Raises Failed where this host has no UEFI of that kind."""
    if boot_type.upper() != "UEFI":
        return None
    secure = boot_mode.upper() == "SECURE"
    for code, variables in SECURE if secure else PLAIN:
        if Path(code).exists() and Path(variables).exists():
            return Firmware(code, variables, secure)
    kind = "UEFI with secure boot" if secure else "UEFI"
    raise Failed(f"this host cannot boot by {kind}: install ovmf (Debian) or edk2-ovmf there, or use BIOS")
