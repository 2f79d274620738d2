"""What a KVM agent needs to say how all machines of its host are: states and figures, from libvirt's test driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

DOMAINS = 500

XML = "<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"


def measure(say: Callable[..., None], rounds: int = 20) -> None:
    """The first report, which connects too, and the slowest of those that follow."""
    from mgmt_server.agent.virt import Virt

    print("\nReport of a KVM agent")
    filling = Virt("test:///default").connection()  # all connections of a process see the same domains
    domains = [filling.defineXML(XML.format(f"bench-{n}", uuid4())) for n in range(DOMAINS)]
    try:
        for domain in domains:
            domain.create()
        virt = Virt("test:///default")
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            running = sum(m.state == "Running" for m in virt.machines())
            told = len(virt.statistics([]))
            times.append(time.perf_counter() - began)
            if min(running, told) < DOMAINS:
                raise RuntimeError(f"{running} states and {told} figures of {DOMAINS} domains were reported")
        took = f"{times[0]:.3f} s, then <= {max(times[1:]):.3f} s"
        say(f"full report of {DOMAINS} domains", took, "<= 1 s")
    finally:
        for domain in domains:
            if domain.isActive():
                domain.destroy()
            domain.undefine()
