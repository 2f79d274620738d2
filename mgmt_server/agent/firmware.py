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


def able() -> list[str]:
    """What machines can boot with here besides a BIOS, as this host's capabilities tell it."""
    found = {"uefi": PLAIN, "secureboot": SECURE}
    return [name for name, places in found.items() if _there(places) is not None]


def _there(places: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    return next(((c, v) for c, v in places if Path(c).exists() and Path(v).exists()), None)


def choose(boot_type: str, boot_mode: str) -> Firmware | None:
    """None for a BIOS. Raises Failed where this host has no UEFI of that kind."""
    if boot_type.upper() != "UEFI":
        return None
    secure = boot_mode.upper() == "SECURE"
    found = _there(SECURE if secure else PLAIN)
    if found is not None:
        return Firmware(*found, secure)
    kind = "UEFI with secure boot" if secure else "UEFI"
    raise Failed(f"this host cannot boot by {kind}: install ovmf (Debian) or edk2-ovmf there, or use BIOS")
