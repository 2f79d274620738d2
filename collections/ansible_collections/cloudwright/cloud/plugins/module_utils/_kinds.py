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
    ident    False when the list command does not take the parameter id
    gather   a callable that makes the entities of what the server lists, where that is not one each
    """

    listing: str
    names: tuple = ("name",)
    query: str = "name"
    always: dict = field(default_factory=dict)
    ident: bool = True
    gather: object = None


def as_one(tags):
    """The tags of a resource as one thing, which it always has."""
    return [{"tags": {tag["key"]: tag.get("value") for tag in tags}}]


def addresses(nics):
    """The secondary addresses of NICs."""
    place = ("virtualmachineid", "networkid")
    found = [(nic, one) for nic in nics for one in nic.get("secondaryip") or ()]
    return [{**{name: nic.get(name) for name in place}, "nicid": nic["id"], **one} for nic, one in found]


def watched(hosts):
    """What hosts tell of their high availability."""
    return [{"id": host["id"], "name": host["name"], **switched(host["hostha"], "haenable")} for host in hosts]


def controllers(hosts):
    """What hosts tell of their management controllers."""
    told = [(host, host["outofbandmanagement"]) for host in hosts]
    return [{"id": host["id"], "name": host["name"], **switched(one, "enabled")} for host, one in told]


def emptied(hosts):
    """What hosts tell of being out of service."""
    names = ("id", "name", "zoneid", "state", "resourcestate")
    return [
        {
            **{name: host.get(name) for name in names},
            "in_maintenance": host.get("resourcestate") == "Maintenance",
            "told": (host.get("details") or {}).get("maintenance", ""),
        }
        for host in hosts
    ]


def closed(pools):
    """What pools tell of being out of service."""
    names = ("id", "name", "zoneid", "state", "disksizeallocated")
    return [
        {**{name: pool.get(name) for name in names}, "in_maintenance": pool.get("state") == "Maintenance"}
        for pool in pools
    ]


def switched(told, field_):
    """What is enabled or not, with a state that says so."""
    return {**told, "state": "Enabled" if told.get(field_) else "Disabled"}


KINDS = {
    "account": Kind("listAccounts", always={"listall": True}),
    "affinity_group": Kind("listAffinityGroups"),
    "alert": Kind("listAlerts"),
    "capacity": Kind("listCapacity", names=("name",), query=None, ident=False),
    "cluster": Kind("listClusters"),
    "configuration": Kind("listConfigurations"),
    "dedicated_cluster": Kind("listDedicatedClusters", names=("clustername",), query=None, ident=False),
    "dedicated_host": Kind("listDedicatedHosts", names=("hostname",), query=None, ident=False),
    "dedicated_pod": Kind("listDedicatedPods", names=("podname",), query=None, ident=False),
    "dedicated_zone": Kind("listDedicatedZones", names=("zonename",), query=None, ident=False),
    "disk_offering": Kind("listDiskOfferings"),
    "domain": Kind("listDomains", names=("name", "path"), query=None, always={"listall": True}),
    "event": Kind("listEvents", names=("type",), query="type"),
    "guest_vlan_range": Kind("listDedicatedGuestVlanRanges", names=("guestvlanrange",), query=None),
    "host": Kind("listHosts", always={"type": "Routing"}),
    "host_ha": Kind("listHosts", always={"type": "Routing"}, gather=watched),
    "host_maintenance": Kind("listHosts", always={"type": "Routing"}, gather=emptied),
    "host_out_of_band": Kind("listHosts", always={"type": "Routing"}, gather=controllers),
    "image_store": Kind("listImageStores"),
    "iso": Kind("listIsos", always={"isofilter": "executable"}),
    "instance_group": Kind("listInstanceGroups"),
    "management_server": Kind("listManagementServers"),
    "network": Kind("listNetworks"),
    "network_offering": Kind("listNetworkOfferings"),
    "nic": Kind("listNics", names=("networkname", "networkid", "macaddress"), query=None, ident=False),
    "nic_address": Kind("listNics", names=("ipaddress",), query=None, ident=False, gather=addresses),
    "network_service_provider": Kind("listNetworkServiceProviders"),
    "os_type": Kind("listOsTypes", names=("description", "name"), query="description"),
    "physical_network": Kind("listPhysicalNetworks"),
    "pod": Kind("listPods"),
    "project": Kind("listProjects", always={"listall": True}),
    "project_member": Kind("listProjectAccounts", names=("account", "username"), query=None, ident=False),
    "public_ip_address": Kind("listPublicIpAddresses", names=("ipaddress",), query="ipaddress"),
    "resource_limit": Kind("listResourceLimits", names=("resourcetypename",), query=None, ident=False),
    "role": Kind("listRoles"),
    "role_permission": Kind("listRolePermissions", names=("rule",), query=None, ident=False),
    "root_volume": Kind(
        "listVolumes", names=("vmname", "vmdisplayname", "virtualmachineid"), query=None, always={"type": "ROOT"}
    ),
    "security_group": Kind("listSecurityGroups", query="securitygroupname"),
    "service_offering": Kind("listServiceOfferings"),
    "snapshot": Kind("listSnapshots", always={"showunique": True}),
    "snapshot_policy": Kind("listSnapshotPolicies", names=("volumename",), query=None),
    "ssh_key_pair": Kind("listSSHKeyPairs"),
    "storage_maintenance": Kind("listStoragePools", gather=closed),
    "storage_pool": Kind("listStoragePools"),
    "system_vm": Kind("listSystemVms"),
    "tag": Kind("listTags", names=("key",), query="key", always={"listall": True}, ident=False),
    "tags": Kind("listTags", always={"listall": True}, ident=False, gather=as_one),
    "template": Kind("listTemplates", always={"templatefilter": "executable"}),
    "traffic_type": Kind("listTrafficTypes", names=("traffictype",), query=None),
    "unmanaged_vm": Kind("listUnmanagedInstances", ident=False),
    "user": Kind("listUsers", names=("username",), query="username", always={"listall": True}),
    "user_data": Kind("listUserData"),
    "vlan_ip_range": Kind("listVlanIpRanges", names=("startip",), query=None),
    "vm": Kind("listVirtualMachines"),
    "vm_snapshot": Kind("listVMSnapshot", names=("displayname", "name"), ident=False),
    "volume": Kind("listVolumes"),
    "zone": Kind("listZones"),
}


def list_entities(client, kind, most=None, **filters):
    """All entities of a kind that the server lets through; each id once (templates come once for each zone).

    most: end the list after so many
    """
    known = KINDS[kind]
    found = client.list(known.listing, most, **{**known.always, **filters})
    if known.gather:
        return known.gather(found)
    return list({entity.get("id", index): entity for index, entity in enumerate(found)}.values())


def by_id(client, kind, value, **filters):
    """The entity with an id, or None."""
    narrow = {"id": value} if KINDS[kind].ident else {}
    try:
        found = list_entities(client, kind, **{**filters, **narrow})
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
    return the_one(kind, found, f"named {value!r}{where}")


def the_one(kind, found, called):
    """The single one of those found, or None."""
    if len(found) > 1:
        ids = ", ".join(str(entity.get("id")) for entity in found)
        raise ApiError(f"{len(found)} of kind {kind} are {called}: use one of the ids {ids}")
    return found[0] if found else None


def lookup(client, kind, value, where="", **filters):
    """The entity that a task names, by id or by name; NotFound names what is missing."""
    found = by_id(client, kind, value, **filters) if UUID.match(value) else None
    found = found or by_name(client, kind, value, where, **filters)
    if found is None:
        raise NotFound(f"no {kind} named {value!r}{where}")
    return found
