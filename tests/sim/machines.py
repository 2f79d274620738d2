"""What a client does with its machines, besides their coming and going: see tests/sim/tenant.py."""

from __future__ import annotations

import base64


class Machines:
    """Operations: nothing when there was nothing to do it with, or it failed."""

    def nic(self, *states, spare=False):
        """Any NIC of a machine of one's own, or one that is not its machine's default."""
        nics = [n for m in self.machines(*states) for n in m["nic"] if not (spare and n["isdefault"])]
        return self.chance.choice(nics) if nics else None

    def do_update(self):
        return self._on("updateVirtualMachine", "Running", "Stopped", displayname=self.name())

    def do_reset_password(self):
        return self._on("resetPasswordForVirtualMachine", "Stopped")

    def do_reset_key(self):
        return self._on("resetSSHKeyForVirtualMachine", "Stopped", keypair="walk")

    def do_reset_user_data(self):
        told = base64.b64encode(self.name().encode()).decode()
        return self._on("resetUserDataForVirtualMachine", "Stopped", userdata=told)

    def do_default_nic(self):
        spare = [(m, n) for m in self.machines("Running", "Stopped") for n in m["nic"] if not n["isdefault"]]
        if not spare:
            return None
        machine, nic = self.chance.choice(spare)
        return self.ask("updateDefaultNicForVirtualMachine", virtualmachineid=machine["id"], nicid=nic["id"])

    def do_add_address(self):
        nic = self.nic("Running", "Stopped")
        return nic and self.ask("addIpToNic", nicid=nic["id"])

    def do_remove_address(self):
        held = [a for m in self.machines("Running", "Stopped") for n in m["nic"] for a in n.get("secondaryip", ())]
        return held and self.ask("removeIpFromNic", id=self.chance.choice(held)["id"])

    def do_change_address(self):
        nic = self.nic("Stopped")
        return nic and self.ask("updateVmNicIp", nicid=nic["id"])

    def do_insert_disc(self):
        return self._on(
            "attachIso", "Running", "Stopped", parameter="virtualmachineid", id=self.cloud.disc, forced=True
        )

    def do_eject_disc(self):
        found = [m for m in self.machines("Running", "Stopped") if "isoid" in m]
        return found and self.ask("detachIso", virtualmachineid=self.chance.choice(found)["id"])

    def do_destroy_and_recover(self):
        found = self.machine("Stopped", "Running")
        if found is None or self.ask("destroyVirtualMachine", id=found["id"]) is None:
            return None
        return self.ask("recoverVirtualMachine", id=found["id"])

    def do_affinity(self):
        mine = [m for m in self.machines("Stopped") if m["account"] == "admin"]
        if not mine:
            return None
        groups = self.chance.choice([*self.cloud.groups, ""])
        return self.ask("updateVMAffinityGroup", id=self.chance.choice(mine)["id"], affinitygroupids=groups)

    def do_move_with_disks(self):
        found = self.machine("Running", "Stopped")
        if found is None:
            return None
        disks = self.client.ask("listVolumes", virtualmachineid=found["id"], listall=True).get("volume", [])
        moves = [(d["id"], self.other_pool(d["storageid"])) for d in disks if "storageid" in d]
        sent = {
            f"migrateto[{n}].{k}": v
            for n, pair in enumerate(moves)
            for k, v in zip(("volume", "pool"), pair, strict=True)
        }
        more = {"autoselect": True} if found["state"] == "Running" else {}
        return moves and self.ask("migrateVirtualMachineWithVolume", virtualmachineid=found["id"], **sent, **more)

    def do_let_go_and_take_back(self):
        mine = [m for m in self.machines("Running") if len(m["nic"]) == 1 and m["account"] == "admin"]
        simple = (m for m in mine if not m["nic"][0].get("secondaryip") and self.has_one_disk(m))
        found = next(simple, None)
        if found is None or self.ask("unmanageVirtualMachine", id=found["id"]) is None:
            return None
        self.let_go.append(found)
        return self.take_back(found)

    def has_one_disk(self, machine):
        disks = self.client.ask("listVolumes", virtualmachineid=machine["id"], listall=True).get("volume", [])
        return len(disks) == 1

    def take_back(self, machine):
        nic = machine["nic"][0]
        first, second = "nicnetworklist[0]", "nicipaddresslist[0]"
        back = self.ask(
            "importUnmanagedInstance", clusterid=self.cloud.zone["cluster"], name=machine["instancename"],
            hostname=machine["name"], serviceofferingid=machine["serviceofferingid"],
            **{f"{first}.nic": nic["macaddress"], f"{first}.network": nic["networkid"]},
            **{f"{second}.nic": nic["macaddress"], f"{second}.ip4Address": nic["ipaddress"]},
        )  # fmt: skip
        if back is not None:
            self.let_go.remove(machine)
            if machine["id"] in self.kept["virtualmachine"]:
                self.kept["virtualmachine"] ^= {machine["id"], back["virtualmachine"]["id"]}
                self.kept["virtualmachine"].add(back["virtualmachine"]["id"])
        return back
