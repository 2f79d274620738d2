"""Whether this host's kernel can limit the speed of NICs, and what becomes of limits where it cannot."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from mgmt_server.errors import Failed
from mgmt_server.protocol.machine import Nic

log = logging.getLogger(__name__)

LACKING = "its kernel lacks one of the modules sch_htb, sch_sfq, sch_ingress, cls_fw, cls_u32, act_police, or tc"
UNABLE = 3
# what libvirt does to a NIC with a limit, tried on one of a network namespace that ends with it
TRIAL = """
ip tuntap add dev trial mode tap && ip link set trial up || exit 2
tc qdisc add dev trial root handle 1: htb default 1 &&
tc class add dev trial parent 1: classid 1:1 htb rate 1000kbps ceil 1000kbps burst 1k quantum 2 &&
tc qdisc add dev trial parent 1:1 handle 2: sfq perturb 10 &&
tc filter add dev trial parent 1:0 protocol all prio 1 handle 1 fw flowid 1 &&
tc qdisc add dev trial ingress &&
tc filter add dev trial parent ffff: protocol all u32 match u32 0 0 \\
    police rate 1000kbps burst 1000kb mtu 64kb drop flowid :1 || exit 3
"""


@cache
def able() -> bool:
    """Where it cannot be tried it is taken to be so: libvirt says what fails."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", TRIAL], stdin=subprocess.DEVNULL, capture_output=True, timeout=20,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return True
    if done.returncode != UNABLE:
        return True
    said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
    log.warning("the speed of NICs cannot be limited on this host: %s (%s)", LACKING, said[:300])
    return False


def bounded(nics: Iterable[Nic]) -> tuple[Nic, ...]:
    """The NICs as this host can have them. What settings limit goes unlimited where the host cannot; Failed is raised
    for what an offering promises, so that another host is tried."""
    found = tuple(nics)
    if not any(n.rate for n in found) or able():
        return found
    for nic in found:
        if nic.rate and not nic.rate_by_default:
            raise Failed(f"this host cannot limit the NIC {nic.mac} to {nic.rate} Mbit/s: {LACKING}")
    return tuple(replace(n, rate=0) for n in found)
