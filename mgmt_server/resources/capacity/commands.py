"""Capacity: how much there is of everything, and how much of it is promised."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from mgmt_server.api.command import command
from mgmt_server.api.context import Context
from mgmt_server.api.listing import page_of_objects
from mgmt_server.api.parameters import Use
from mgmt_server.errors import InvalidValue
from mgmt_server.model.tenancy import ADMIN, RESOURCE_ADMIN
from mgmt_server.model.zone import Cluster, Pod, Zone
from mgmt_server.resources.capacity import sums, timers

OPERATORS = (ADMIN, RESOURCE_ADMIN)


@command("listCapacity", roles=OPERATORS, key="", reads=True)
def list_capacity(
    ctx: Context,
    zoneid: Use[Zone] | None = None,
    podid: Use[Pod] | None = None,
    clusterid: Use[Cluster] | None = None,
    type: int | None = None,
    sortby: str | None = None,
    fetchlatest: bool = False,
    tag: str | None = None,
) -> dict[str, Any]:
    """List capacities of zones, or of a pod or a cluster.

    zoneid: those of this zone
    podid: those of this pod
    clusterid: those of this cluster
    type: 0 memory, 1 CPU, 2 storage, 3 storage as promised, 4 public addresses, 5 management addresses, ...
    sortby: usage for the fullest first
    fetchlatest: whether to count first what hosts and pools have promised; what is answered is the latest in any case
    tag: what hosts and storage with this tag have
    """
    if type is not None and type not in sums.NAMES:
        raise InvalidValue(f"type={type} is none of " + ", ".join(f"{n} {name}" for n, name in sums.NAMES.items()))
    if sortby not in (None, "usage"):
        raise InvalidValue(f"sortby={str(sortby)[:50]} is not supported: send usage")
    if fetchlatest:
        timers.check()
    rows = select(Zone.id, Zone.uuid, Zone.name).where(Zone.removed.is_(None), Zone.usable_by(ctx.caller))
    if zoneid is not None or podid is not None or clusterid is not None:
        found = zoneid.id if zoneid else podid.zone_id if podid else clusterid.zone_id if clusterid else 0
        rows = rows.where(Zone.id == found)
    answer: list[dict[str, Any]] = []
    for number, uuid, name in ctx.session.execute(rows.order_by(Zone.id)):
        place = sums.Place(number, podid.id if podid else None, clusterid.id if clusterid else None, tag or "")
        where = {"zoneid": uuid, "zonename": name} | _below(ctx, podid, clusterid)
        answer.extend({**entry, **where} for entry in sums.of(ctx.session, place, type))
    if sortby:
        answer.sort(key=lambda entry: -float(entry["percentused"]))
    return page_of_objects(ctx, "capacity", answer)


def _below(ctx: Context, pod: Pod | None, cluster: Cluster | None) -> dict[str, str]:
    found = {}
    if cluster is not None:
        found = {"clusterid": cluster.uuid, "clustername": cluster.name}
        pod = pod or ctx.session.get_one(Pod, cluster.pod_id)
    if pod is not None:
        found |= {"podid": pod.uuid, "podname": pod.name}
    return found
