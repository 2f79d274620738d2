"""Checks of what zones are built of: storage, system VM images, addresses."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from mgmt_server.config import Config
from mgmt_server.db import reading
from mgmt_server.doctor.finding import Finding, fail, ok, skipped, warn
from mgmt_server.drivers.image import nfs, system
from mgmt_server.errors import ApiError
from mgmt_server.model.storage import ImageStore, Pool
from mgmt_server.model.zone import Cluster, Zone
from mgmt_server.resources.capacity import sums

FULL, VERY_FULL = 0.85, 0.95


def pools(_: Config) -> Iterator[Finding]:
    with reading() as session:
        known = list(session.scalars(select(Pool).where(Pool.removed.is_(None)).order_by(Pool.name)))
    if not known:
        yield skipped("primary storage", "there is none")
        return
    wrong = 0
    for pool in known:
        wrong += 1
        promised = pool.capacity * pool.overprovision
        if pool.state != "Up":
            yield warn("primary storage", f"{pool.name} is {pool.state}", "no new disk goes there until it is Up")
        elif pool.capacity and pool.used > VERY_FULL * pool.capacity:
            yield fail(
                "primary storage", f"{pool.name} is {_percent(pool.used, pool.capacity)} full", "make room on it"
            )
        elif pool.capacity and pool.used > FULL * pool.capacity:
            yield warn(
                "primary storage", f"{pool.name} is {_percent(pool.used, pool.capacity)} full", "make room on it"
            )
        elif promised and pool.allocated > FULL * promised:
            yield warn(
                "primary storage",
                f"{_percent(pool.allocated, promised)} of what {pool.name} may promise is promised",
                "add storage, or raise storage.overprovisioning.factor knowingly",
            )
        else:
            wrong -= 1
    if not wrong:
        yield ok("primary storage", f"{len(known)} pool(s) are Up and have room")


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}%"


def _real() -> list[tuple[ImageStore, str]]:
    """Stores of zones with real hosts, and the zones' names."""
    with reading() as session:
        kvm = select(Cluster.zone_id).where(Cluster.hypervisor == "KVM", Cluster.removed.is_(None))
        rows = (
            select(ImageStore, Zone.name)
            .join(Zone, Zone.id == ImageStore.zone_id)
            .where(ImageStore.removed.is_(None), Zone.id.in_(kvm))
        )
        return [(store, zone) for store, zone in session.execute(rows.order_by(ImageStore.id))]


def stores(_: Config) -> Iterator[Finding]:
    known = _real()
    if not known:
        yield skipped("secondary storage", "no zone with KVM hosts has any")
    for store, zone in known:
        try:
            used, there = nfs.space(store.url)
        except ApiError as error:
            yield fail(
                "secondary storage", f"{store.url} of {zone}: {error}", "check the server, its export and the path"
            )
            continue
        full = f"{store.url} is {_percent(used, there or 1)} full"
        if used > FULL * there:
            yield warn("secondary storage", full, "make room on it")
        else:
            yield ok("secondary storage", full)


def system_templates(_: Config) -> Iterator[Finding]:
    there: dict[str, bool] = {}
    for store, zone in _real():
        try:
            there[zone] = there.get(zone, False) or system.find(store.url) is not None
        except ApiError:
            there.setdefault(zone, False)
    for zone, found in there.items():
        if found:
            yield ok("system VM image", f"it is on secondary storage of {zone}")
        else:
            yield fail(
                "system VM image",
                f"zone {zone} has none",
                "build it with `cloudwright systemvm build`, put it there with `cloudwright template install-system`",
            )
    if not there:
        yield skipped("system VM image", "no zone with KVM hosts has secondary storage")


def addresses(_: Config) -> Iterator[Finding]:
    with reading() as session:
        zones = session.execute(select(Zone.id, Zone.name, Zone.network_type).where(Zone.removed.is_(None))).all()
        count = session.scalar(select(func.count()).select_from(Zone).where(Zone.removed.is_(None)))
        for number, name, kind in zones:
            figures = {e["type"]: e for e in sums.of(session, sums.Place(number))}
            wanted = ((5, "management"), (4, "public")) if kind == "Advanced" else ((5, "management"),)
            for type_, word in wanted:
                entry = figures[type_]
                free = entry["capacitytotal"] - entry["capacityused"]
                told = f"zone {name} has {free} of {entry['capacitytotal']} {word} addresses left"
                remedy = (
                    "add a range: createManagementNetworkIpRange" if type_ == 5 else "add a range: createVlanIpRange"
                )
                if not free:
                    yield fail("addresses", told, remedy)
                elif free < 0.1 * entry["capacitytotal"]:
                    yield warn("addresses", told, remedy)
                else:
                    yield ok("addresses", told)
    if not count:
        yield skipped("addresses", "there is no zone")
