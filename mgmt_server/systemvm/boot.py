"""What the host told this machine before anything ran, and the control link that follows from it.

Boot arguments are `key=value` words: type, name, eth<N>ip, eth<N>mask, gateway and so on. They come in SMBIOS OEM
strings that start with `cloudwright:` (several are joined), and in the kernel's command line, where each word starts
with `cloudwright.`; the command line wins.
"""

from __future__ import annotations

import os
import time

DMI = "/sys/firmware/dmi/tables/DMI"
COMMAND_LINE = "/proc/cmdline"
PREFIX = b"cloudwright:"
LINK_LOCAL = "169.254."
# where the control NIC is when no address tells: routers have their guests on eth0
CONTROL_DEVICE = {"router": "eth1", "dhcpsrvr": "eth1"}


def read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def boot_arguments(dmi: str = DMI, command_line: str = COMMAND_LINE) -> dict[str, str]:
    """Words of both sources by key."""
    words = []
    for text in read_bytes(dmi).split(b"\0"):
        # a string follows the binary part of its structure, so it need not stand at the start
        _, found, rest = text.partition(PREFIX)
        if found:
            words += rest.decode(errors="replace").split()
    for word in read_bytes(command_line).decode(errors="replace").split():
        if word.startswith("cloudwright."):
            words.append(word.removeprefix("cloudwright."))
    return {key: value for key, found, value in (word.partition("=") for word in words) if found}


def control_device(arguments: dict[str, str]) -> str:
    """eth<N> of the control link, empty when the arguments give no address for it."""
    for key, value in sorted(arguments.items()):
        if key.startswith("eth") and key.endswith("ip") and value.startswith(LINK_LOCAL):
            return key.removesuffix("ip")
    device = CONTROL_DEVICE.get(arguments.get("type", ""), "eth0")
    return device if f"{device}ip" in arguments else ""


def prefix_length(mask: str) -> int:
    """Of a netmask as text: 255.255.0.0 gives 16. Raises ValueError."""
    bits = "".join(f"{int(part):08b}" for part in mask.split("."))
    if len(bits) != 32 or "01" in bits:
        raise ValueError(f"{mask} is no netmask")
    return bits.count("1")


def bring_up_control(arguments: dict[str, str], wait: float = 10.0) -> tuple[str, str]:
    """Give the control NIC its address: (device, address), or two empty texts. Waits so many seconds for the NIC."""
    device = control_device(arguments)
    if not device:
        return "", ""
    address = arguments[f"{device}ip"]
    prefix = prefix_length(arguments.get(f"{device}mask", "255.255.0.0"))
    until = time.monotonic() + wait
    while not os.path.exists(f"/sys/class/net/{device}") and time.monotonic() < until:
        time.sleep(0.05)
    for words in (
        ("link", "set", "lo", "up"),
        ("address", "replace", f"{address}/{prefix}", "dev", device),
        ("link", "set", device, "up"),
    ):
        os.spawnvp(os.P_WAIT, "ip", ["ip", *words])  # noqa: S606 - importing subprocess costs
    return device, address


def say_on_console(text: str, console: str = "/dev/ttyS0") -> None:
    """A line that whoever watches the serial console waits for; seconds since boot come first."""
    uptime = read_bytes("/proc/uptime").split()[0].decode()
    try:
        with open(console, "w") as file:
            file.write(f"CLOUDWRIGHT {uptime} {text}\n")
    except OSError:
        pass  # a machine without a serial port
