# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server in memory knows of NICs, system VMs, the power of hosts, and machines that only hosts know."""

from __future__ import annotations

POWERED = {"ON": "On", "OFF": "Off", "SOFT": "Off", "CYCLE": "On", "RESET": "On"}


def extend(cloud):
    """Teach a server in memory all of it."""
    for teach in (nics, secondary_addresses, system_vms, power, strangers, rolling):
        teach(cloud)
    return cloud


def has(cloud, kind, more):
    """Give each new entity of a kind what ``more`` says of it."""
    before = cloud.born

    def bearing(of, entity, params):
        found = before(of, entity, params)
        return {**found, **(more(entity) if of == kind else {})}

    cloud.born = bearing


def machine_of(cloud, params):
    """The machine that a command names."""
    return cloud.get("virtualmachine", {"id": params["virtualmachineid"]})


def nics(cloud):
    """NICs, which have ids and the names of their networks once they are listed."""

    def whole(machine):
        for number, nic in enumerate(machine["nic"]):
            nic.setdefault("id", f"nic-{machine['id']}-{nic['networkid']}")
            nic.setdefault("isdefault", number == 0)
            nic["virtualmachineid"] = machine["id"]
            nic["networkname"] = cloud.kinds["network"][nic["networkid"]]["name"]
        return machine["nic"]

    def listing(params):
        found = whole(machine_of(cloud, params))
        found = [nic for nic in found if params.get("networkid") in (None, nic["networkid"])]
        return {"count": len(found), "nic": found} if found else {}

    def add(params):
        machine = machine_of(cloud, params)
        more = {"macaddress": params.get("macaddress", "06:00:00:00:00:09")}
        machine["nic"].append({"networkid": params["networkid"], "ipaddress": params.get("ipaddress"), **more})
        return cloud.job({"virtualmachine": machine})

    def remove(params):
        machine = machine_of(cloud, params)
        machine["nic"] = [nic for nic in whole(machine) if nic["id"] != params["nicid"]]
        return cloud.job({"virtualmachine": machine})

    cloud.commands.update(listNics=listing, addNicToVirtualMachine=add, removeNicFromVirtualMachine=remove)


def secondary_addresses(cloud):
    """Secondary addresses of NICs."""

    def all_nics():
        return [nic for machine in cloud.kinds["virtualmachine"].values() for nic in machine["nic"]]

    def add(params):
        nic = next(nic for nic in all_nics() if nic.get("id") == params["nicid"])
        address = {"id": f"address-{params['ipaddress']}", "ipaddress": params["ipaddress"]}
        nic.setdefault("secondaryip", []).append(address)
        return cloud.job({"nicsecondaryip": {**address, "nicid": nic["id"]}})

    def remove(params):
        for nic in all_nics():
            nic["secondaryip"] = [one for one in nic.get("secondaryip", ()) if one["id"] != params["id"]]
        return cloud.job({"success": True})

    cloud.commands.update(addIpToNic=add, removeIpFromNic=remove)


def system_vms(cloud):
    """Two of each zone."""
    cloud.kinds["systemvm"] = {}

    def made(zone):
        for letter, kind in (("v", "consoleproxy"), ("s", "secondarystoragevm")):
            more = {"name": f"{letter}-{len(cloud.kinds['systemvm'])}-VM", "systemvmtype": kind, "zoneid": zone["id"]}
            cloud.add("systemvm", {**more, "state": "Running"})
        return {}

    def renewed(params):
        old = cloud.kinds["systemvm"].pop(params["id"])
        return cloud.job({"systemvm": cloud.add("systemvm", {**old, "name": f"{old['name'][0]}-9-VM"})})

    has(cloud, "zone", made)
    for verb, state in (("start", "Running"), ("stop", "Stopped"), ("reboot", "Running")):
        cloud.commands[f"{verb}SystemVm"] = cloud.setter("systemvm", "state", state, job=True)
    cloud.commands["destroySystemVm"] = renewed
    cloud.commands["listSystemVms"] = lambda params: cloud.listing("systemvm", "systemvm", params)


def power(cloud):
    """High availability and management controllers of hosts."""

    def dark(_host):
        return {"hostha": {"haenable": False}, "outofbandmanagement": {"enabled": False, "powerstate": "Disabled"}}

    def change(part, **values):
        def handler(params):
            host = cloud.get("host", {"id": params["hostid"]})
            host[part].update({name: params[value] if value in params else value for name, value in values.items()})
            return cloud.job({part: {"hostid": host["id"], **host[part]}})

        return handler

    def act(params):
        host = cloud.get("host", {"id": params["hostid"]})
        told = host["outofbandmanagement"]
        told["powerstate"] = POWERED.get(params["action"], told["powerstate"])
        return cloud.job({"outofbandmanagement": {"hostid": host["id"], **told}})

    has(cloud, "host", dark)
    ha, oob = "hostha", "outofbandmanagement"
    known = {name: name for name in ("driver", "address", "port", "username")}
    cloud.commands.update(
        configureHAForHost=change(ha, haprovider="provider"),
        enableHAForHost=change(ha, haenable=True),
        disableHAForHost=change(ha, haenable=False),
        configureOutOfBandManagement=change(oob, **known),
        enableOutOfBandManagementForHost=change(oob, enabled=True, powerstate="Unknown"),
        disableOutOfBandManagementForHost=change(oob, enabled=False, powerstate="Disabled"),
        issueOutOfBandManagementPowerAction=act,
    )


def strangers(cloud):
    """A machine that hosts have and the server does not know."""
    kept = {"stranger": {"name": "stranger", "powerstate": "PowerOff"}}

    def listing(params):
        found = [one for name, one in kept.items() if params.get("name") in (None, name)]
        return {"count": len(found), "unmanagedinstance": found} if found else {}

    def take(params):
        del kept[params["name"]]
        named = {"name": params["hostname"], "nic": [], "state": "Stopped"}
        return cloud.job({"virtualmachine": cloud.add("virtualmachine", named)})

    def leave(params):
        kept["stranger"] = {"name": "stranger", "powerstate": "PowerOff"}
        del cloud.kinds["virtualmachine"][params["id"]]
        return cloud.job({"success": True})

    cloud.commands.update(listUnmanagedInstances=listing, importUnmanagedInstance=take, unmanageVirtualMachine=leave)


def rolling(cloud):
    """Maintenance of hosts one after the other: those called busy have no room for their machines elsewhere."""

    def start(params):
        hosts = [cloud.get("host", {"id": ident}) for ident in params["hostids"].split(",")]
        updated, skipped, forced = [], [], params.get("forced") == "true"
        for host in hosts:
            entry = {"hostid": host["id"], "hostname": host["name"]}
            if "busy" in host["name"]:
                skipped.append({**entry, "reason": "there is no room elsewhere"})
            elif forced or not skipped:
                updated.append({**entry, "output": params.get("payload", "")})
        failed = bool(skipped) and not forced
        answer = {"success": not failed, "details": "no room" if failed else "OK"}
        return cloud.job({"rollingmaintenance": {**answer, "hostsupdated": updated, "hostsskipped": skipped}})

    cloud.commands["startRollingMaintenance"] = start
