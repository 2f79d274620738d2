# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of entities and how one of each is found.  Private to this collection."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError, NotFound

UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


@dataclass(frozen=True)
class Kind:
    """How to list a kind of entity.

    listing  the list command
    names    the fields of an answer that a name is compared with; the server may match more loosely
    query    the parameter that lets the server narrow the list to a name, None if it has none
    always   what every call of the list command needs
    """

    listing: str
    names: tuple = ("name",)
    query: str = "name"
    always: dict = field(default_factory=dict)


KINDS = {
    "account": Kind("listAccounts", always={"listall": True}),
    "affinity_group": Kind("listAffinityGroups"),
    "cluster": Kind("listClusters"),
    "configuration": Kind("listConfigurations"),
    "disk_offering": Kind("listDiskOfferings"),
    "domain": Kind("listDomains", names=("name", "path"), query=None, always={"listall": True}),
    "host": Kind("listHosts", always={"type": "Routing"}),
    "image_store": Kind("listImageStores"),
    "network": Kind("listNetworks"),
    "network_offering": Kind("listNetworkOfferings"),
    "network_service_provider": Kind("listNetworkServiceProviders"),
    "os_type": Kind("listOsTypes", names=("description", "name"), query="description"),
    "physical_network": Kind("listPhysicalNetworks"),
    "pod": Kind("listPods"),
    "project": Kind("listProjects", always={"listall": True}),
    "security_group": Kind("listSecurityGroups", query="securitygroupname"),
    "service_offering": Kind("listServiceOfferings"),
    "ssh_key_pair": Kind("listSSHKeyPairs"),
    "storage_pool": Kind("listStoragePools"),
    "template": Kind("listTemplates", always={"templatefilter": "executable"}),
    "traffic_type": Kind("listTrafficTypes", names=("traffictype",), query=None),
    "user": Kind("listUsers", names=("username",), query="username", always={"listall": True}),
    "vlan_ip_range": Kind("listVlanIpRanges", names=("startip",), query=None),
    "vm": Kind("listVirtualMachines"),
    "zone": Kind("listZones"),
}


def list_entities(client, kind, **filters):
    """All entities of a kind that the server lets through; each id once (templates come once for each zone)."""
    known = KINDS[kind]
    found = client.list(known.listing, **{**known.always, **filters})
    return list({entity.get("id", index): entity for index, entity in enumerate(found)}.values())


def by_id(client, kind, value, **filters):
    """The entity with an id, or None."""
    try:
        found = list_entities(client, kind, id=value, **filters)
    except ApiError as exc:
        if exc.code == 431:  # the server's answer for an id that it does not know
            return None
        raise
    return next((entity for entity in found if entity.get("id") == value), None)


def by_name(client, kind, value, where="", **filters):
    """The single entity of a name, or None.  Two of one name are an error, never the first of them."""
    known = KINDS[kind]
    narrow = {known.query: value} if known.query else {}
    found = [
        entity
        for entity in list_entities(client, kind, **{**filters, **narrow})
        if value in [entity.get(name) for name in known.names]
    ]
    if len(found) > 1:
        ids = ", ".join(str(entity.get("id")) for entity in found)
        raise ApiError(f"{len(found)} of kind {kind} are named {value!r}{where}: use one of the ids {ids}")
    return found[0] if found else None


def lookup(client, kind, value, where="", **filters):
    """The entity that a task names, by id or by name; NotFound names what is missing."""
    found = by_id(client, kind, value, **filters) if UUID.match(value) else None
    found = found or by_name(client, kind, value, where, **filters)
    if found is None:
        raise NotFound(f"no {kind} named {value!r}{where}")
    return found
