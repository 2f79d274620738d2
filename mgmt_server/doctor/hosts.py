"""Checks of hosts, from what their agents said when they connected."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from mgmt_server.config import Config
from mgmt_server.db import now, reading
from mgmt_server.doctor.finding import Finding, fail, ok, skipped, warn
from mgmt_server.drivers.power.ipmitool import PATH as IPMITOOL
from mgmt_server.model.agent import Agent
from mgmt_server.model.ha import HostHa, OutOfBand
from mgmt_server.model.host import Host
from mgmt_server.protocol.codec import build, parse
from mgmt_server.protocol.machine import HostFacts
from mgmt_server.resources.alert.certificates import ending
from mgmt_server.resources.host.joining import CLOCK, labels


def _known() -> list[tuple[Host, Agent]]:
    with reading() as session:
        rows = select(Host, Agent).join(Agent, Agent.uuid == Host.agent).where(Host.removed.is_(None))
        return [(host, agent) for host, agent in session.execute(rows.order_by(Host.name))]


def agents(_: Config) -> Iterator[Finding]:
    with reading() as session:
        rows = select(Agent).where(Agent.kind == "host", Agent.removed.is_(None)).order_by(Agent.name)
        known = list(session.scalars(rows))
        used = set(session.scalars(select(Host.agent).where(Host.removed.is_(None), Host.agent.is_not(None))))
    if not known:
        yield skipped("agents", "no agent has joined")
        return
    away = [a.name for a in known if a.uuid in used and not a.node]
    waiting = [a.name for a in known if a.uuid not in used]
    if away:
        yield fail(
            "agents",
            f"not connected: {', '.join(away)}",
            "on those hosts: systemctl status cloudwright-agent, and whether they reach port 8250 of this server",
        )
    else:
        yield ok("agents", f"{len(used)} host(s) have theirs connected")
    if waiting:
        yield warn("agents without a host", ", ".join(waiting), "add them with addHost, or stop their agents")


def states(_: Config) -> Iterator[Finding]:
    with reading() as session:
        found = list(session.scalars(select(Host).where(Host.removed.is_(None)).order_by(Host.name)))
    if not found:
        yield skipped("hosts", "there are none")
        return
    wrong = [h for h in found if h.state != "Up"]
    for host in wrong:
        reason = (host.details or {}).get("reason") or "no reason is known"
        yield fail("hosts", f"{host.name} is {host.state}: {reason}", "remove the cause; it is tried again by itself")
    if not wrong:
        yield ok("hosts", f"{len(found)} are Up")


def bridges(_: Config) -> Iterator[Finding]:
    known = _known()
    if not known:
        yield skipped("bridges", "there are no KVM hosts")
        return
    complete = 0
    with reading() as session:
        for host, agent in known:
            facts = _facts(agent)
            if facts is None:
                continue
            missing = [(k, label, n) for k, label, n in labels(session, host.zone_id) if label not in facts.bridges]
            complete += not missing
            for kind, label, network in missing:
                yield fail(
                    "bridges",
                    f"{host.name} has no {label}, which carries {kind} of {network}; it has "
                    f"{', '.join(facts.bridges) or 'none'}",
                    "make the bridge (role kvm_host), or change the label with updateTrafficType",
                )
    if complete == len(known):
        yield ok("bridges", f"{complete} host(s) have all that their zone's labels name")


def clocks(_: Config) -> Iterator[Finding]:
    """By how much a host's clock differed when its agent connected."""
    known = _known()
    seen = 0
    for host, agent in known:
        facts = _facts(agent)
        if facts is None or not facts.clock or agent.seen is None or not agent.node:
            continue
        told = datetime.fromisoformat(facts.clock)
        told = told.astimezone(UTC).replace(tzinfo=None) if told.tzinfo else told
        offset = (told - agent.seen).total_seconds()
        seen += 1
        if abs(offset) > CLOCK:
            yield fail("host clocks", f"{host.name} is {offset:+.0f} s off", "have it follow the same time servers")
            seen -= 1
    if not known:
        yield skipped("host clocks", "there are no KVM hosts")
    elif seen:
        yield ok("host clocks", f"{seen} host(s) within {CLOCK:g} s when they connected")


def _facts(agent: Agent) -> HostFacts | None:
    return build(HostFacts, parse(agent.facts)) if agent.facts else None


def nic_limits(_: Config) -> Iterator[Finding]:
    known = [(host, facts) for host, agent in _known() if (facts := _facts(agent)) is not None]
    unable = [host.name for host, facts in known if not facts.limits_nics]
    if not known:
        yield skipped("NIC limits", "there are no KVM hosts")
    elif unable:
        yield warn(
            "NIC limits",
            f"{', '.join(unable)} cannot limit the speed of NICs: offerings with a networkrate do not start there, and "
            "what settings limit goes unlimited",
            "have tc there, and a kernel with the modules sch_htb, sch_sfq, sch_ingress, cls_fw, cls_u32, act_police",
        )
    else:
        yield ok("NIC limits", f"{len(known)} host(s) can limit the speed of NICs")


def certificates(_: Config) -> Iterator[Finding]:
    """Of hosts' agents, which libvirt and QEMU use too when machines migrate."""
    with reading() as session:
        wrong = list(ending(session))
        rows = select(Agent.expires).join(Host, Host.agent == Agent.uuid)
        known = list(session.scalars(rows.where(Host.removed.is_(None), Agent.expires.is_not(None))))
    for found in wrong:
        yield (fail if found.expires <= now() else warn)("host certificates", found.told, found.remedy)
    if not known:
        yield skipped("host certificates", "no host's agent has shown one yet")
    elif not wrong:
        yield ok("host certificates", f"{len(known)} host(s): the first ends in {(min(known) - now()).days} days")


def high_availability(_: Config) -> Iterator[Finding]:
    """Whether each host with high availability could be proven dead, and whether what that needs is there."""
    with reading() as session:
        rows = select(Host, HostHa, OutOfBand).join(HostHa, HostHa.host_id == Host.id)
        rows = rows.outerjoin(OutOfBand, OutOfBand.host_id == Host.id).where(Host.removed.is_(None), HostHa.enabled)
        found = [(h, ha, c) for h, ha, c in session.execute(rows.order_by(Host.name))]
    if not found:
        yield skipped("high availability", "no host has it: a lost host's guests start elsewhere by heartbeat alone")
        return
    bare = [h.name for h, _, c in found if c is None or not c.enabled]
    if bare:
        yield warn(
            "high availability",
            f"no management controller: {', '.join(bare)}",
            "configureOutOfBandManagement and enableOutOfBandManagementForHost, so that they can be switched off",
        )
    mute = [f"{h.name} ({c.told})" for h, _, c in found if c is not None and c.enabled and c.told]
    if mute:
        yield fail("high availability", f"controllers that fail: {'; '.join(mute)}", "try power action STATUS by hand")
    if any(c is not None and c.driver == "ipmitool" for _, _, c in found) and not Path(IPMITOOL.text()).exists():
        yield fail("high availability", f"{IPMITOOL.text()} is not there", f"install ipmitool, or set {IPMITOOL.name}")
    if not bare and not mute:
        yield ok("high availability", f"{len(found)} host(s) can be switched off when lost")
