"""A client that does one thing after another with machines and disks of its own, each at random."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter

from tests.sim.disks import Disks
from tests.sim.machines import Machines

OPERATIONS = {  # how often each is tried
    "deploy": 6, "stop": 3, "start": 4, "reboot": 2, "migrate": 3, "destroy": 3, "scale": 2, "add_nic": 1,
    "remove_nic": 1, "volume": 4, "attach": 4, "detach": 3, "resize": 2, "delete_volume": 2, "snapshot": 3,
    "revert": 1, "delete_snapshot": 2, "from_snapshot": 1, "vm_snapshot": 2, "revert_vm_snapshot": 1,
    "delete_vm_snapshot": 2, "restore": 1, "move_volume": 2, "assign": 1, "template": 1, "delete_template": 1,
    "let_go_and_take_back": 2, "update": 1, "reset_password": 1, "reset_key": 1, "reset_user_data": 1,
    "default_nic": 1, "add_address": 1, "remove_address": 1, "change_address": 1, "insert_disc": 1, "eject_disc": 1,
    "destroy_and_recover": 1, "affinity": 1, "move_with_disks": 1, "extract": 1, "upload": 1,
    "change_disk_offering": 1, "give_disk": 1, "destroy_and_recover_disk": 1, "let_disk_go_and_take_back": 1,
    "policy": 1, "delete_policy": 1, "copy_snapshot": 1, "copy_template": 1, "extract_template": 1,
    "prepare_template": 1,
}  # fmt: skip
PAGE = 500
PLACE_IS_TAKEN = "has promised all that it may|is taken already"
KEPT = {"virtualmachine": "listVirtualMachines", "volume": "listVolumes", "snapshot": "listSnapshots"}


class Tenant(Machines, Disks, threading.Thread):
    """Does one thing after another with machines and disks of its own, each at random."""

    def __init__(self, cloud, number, networks, seed):
        super().__init__(daemon=True)
        self.cloud, self.number, self.networks = cloud, number, networks
        self.chance = random.Random(seed * 1000 + number)
        self.stopping = threading.Event()
        self.client = cloud.client()
        self.done, self.refused, self.failed, self.wrong = Counter(), Counter(), Counter(), []
        self.jobs = {}
        self.kept = {kind: set() for kind in KEPT}  # what was acknowledged, and never asked to go
        self.let_go, self.disks_let_go = [], []  # what was given up, and is to be taken back
        self.names = 0

    def run(self):
        kinds, weights = zip(*OPERATIONS.items(), strict=True)
        while not self.stopping.is_set():
            kind = self.chance.choices(kinds, weights)[0]
            try:
                if getattr(self, f"do_{kind}")():
                    self.done[kind] += 1
            except RuntimeError as error:
                self.tell(kind, str(error))
            except Exception as error:
                self.wrong.append(f"{kind}: {error!r}")
                return

    def tell(self, kind, text):
        """An error of the server: fine where it says why."""
        if "internal error" in text.lower() or "Traceback" in text:
            self.wrong.append(f"{kind}: {text}")
        self.refused[kind] += 1

    def ask(self, command, **sent):
        """Ask, and wait for the job if it has one; None when the job failed."""
        answer = self.client.ask(command, **sent)
        if "jobid" not in answer:
            return answer
        job = answer["jobid"]
        end = time.monotonic() + 90
        while not (known := self.client.ask("queryAsyncJobResult", jobid=job))["jobstatus"]:
            if time.monotonic() > end:
                raise AssertionError(f"{command} {job} does not end")
            time.sleep(0.02)
        self.jobs[job] = known
        if known["jobstatus"] == 2:
            told = known["jobresult"].get("errortext", "")
            if not told or "internal error" in told.lower():
                self.wrong.append(f"{command}: {known['jobresult']}")
            self.failed[command] += 1
            return None
        return known["jobresult"]

    def makes(self, kind, command, **sent):
        """Ask for something new, that has to be there from then on."""
        made = self.ask(command, **sent)
        if made is not None:
            self.kept[kind].add(made[kind]["id"])
        return made

    def drops(self, kind, command, id, **sent):
        self.kept[kind].discard(id)
        return self.ask(command, id=id, **sent)

    def take_all_back(self):
        """What it let go and did not get back while faults were on. Others may have its place by now."""
        for again, left in ((self.take_back, self.let_go), (self.take_disk_back, self.disks_let_go)):
            for each in list(left):
                try:
                    back = again(each)
                except RuntimeError as error:
                    if not re.search(PLACE_IS_TAKEN, str(error)):
                        raise
                    self.kept["virtualmachine"].discard(each["id"])
                    self.cloud.clear_away(each["id"])
                else:
                    assert back is not None, each["name"]

    def _all(self, kind, command):
        """A long walk makes more than a page holds."""
        found, page = [], []
        while not found or len(page) == PAGE:
            page = self.client.ask(command, listall=True, pagesize=PAGE, page=1 + len(found) // PAGE).get(kind, [])
            found += page
            if not page:
                break
        return found

    def lost(self):
        """What was acknowledged and is not listed."""
        for kind, command in KEPT.items():
            found = self._all(kind, command)
            gone = self.kept[kind] - {f["id"] for f in found if f["state"] not in ("Error", "Destroyed", "Expunging")}
            if gone:
                yield f"{kind} {gone} of client {self.number}"

    # --- what there is ----------------------------------------------------------------------------------------------

    def machines(self, *states):
        found = self.client.ask("listVirtualMachines", listall=True, keyword=f"w{self.number}-")
        return [m for m in found.get("virtualmachine", []) if not states or m["state"] in states]

    def machine(self, *states):
        found = self.machines(*states)
        return self.chance.choice(found) if found else None

    def disk(self, attached):
        found = self.client.ask("listVolumes", listall=True, keyword=f"w{self.number}-", type="DATADISK")
        found = [v for v in found.get("volume", []) if ("virtualmachineid" in v) == attached]
        return self.chance.choice(found) if found else None

    def some_snapshot(self):
        found = self.client.ask("listSnapshots", listall=True, keyword=f"w{self.number}-").get("snapshot", [])
        return self.chance.choice(found) if found else None

    def some_vm_snapshot(self):
        found = self.client.ask("listVMSnapshot", listall=True, keyword=f"w{self.number}-").get("vmSnapshot", [])
        return self.chance.choice(found) if found else None

    def name(self):
        self.names += 1
        return f"w{self.number}-{self.names}"

    # --- operations: nothing where it could not be done ---------------------------------------------------------------

    def do_deploy(self):
        if len(self.machines()) > 6:
            return None
        return self.makes(
            "virtualmachine", "deployVirtualMachine", zoneid=self.cloud.zone["zone"],
            templateid=self.cloud.zone["template"], serviceofferingid=self.cloud.offering, name=self.name(),
            networkids=self.chance.choice(self.networks), startvm=self.chance.random() < 0.8,
        )  # fmt: skip

    def _on(self, command, *states, **more):
        found = self.machine(*states)
        return found and self.ask(command, **{more.pop("parameter", "id"): found["id"]}, **more)

    def do_stop(self):
        return self._on("stopVirtualMachine", "Running", forced=self.chance.random() < 0.5)

    def do_start(self):
        return self._on("startVirtualMachine", "Stopped")

    def do_reboot(self):
        return self._on("rebootVirtualMachine", "Running")

    def do_migrate(self):
        return self._on("migrateVirtualMachine", "Running", parameter="virtualmachineid", autoselect=True)

    def do_destroy(self):
        found = self.machine()
        expunge = self.chance.random() < 0.8
        return found and self.drops("virtualmachine", "destroyVirtualMachine", found["id"], expunge=expunge)

    def do_restore(self):
        return self._on("restoreVirtualMachine", "Running", "Stopped", parameter="virtualmachineid")

    def do_scale(self):
        found = self.machine("Stopped", "Running")
        return found and self.ask(
            "scaleVirtualMachine", id=found["id"], serviceofferingid=self.chance.choice(self.cloud.offerings)
        )

    def do_add_nic(self):
        return self._on(
            "addNicToVirtualMachine", "Running", "Stopped", parameter="virtualmachineid",
            networkid=self.chance.choice(self.networks),
        )  # fmt: skip

    def do_remove_nic(self):
        found = next((m for m in self.machines("Running", "Stopped") if len(m["nic"]) > 1), None)
        if found is None:
            return None
        nic = next(n for n in found["nic"] if not n["isdefault"])
        return self.ask("removeNicFromVirtualMachine", virtualmachineid=found["id"], nicid=nic["id"])

    def do_volume(self):
        return self.makes(
            "volume",
            "createVolume",
            zoneid=self.cloud.zone["zone"],
            diskofferingid=self.cloud.disk_offering,
            name=self.name(),
        )

    def do_attach(self):
        disk, machine = self.disk(False), self.machine("Running", "Stopped")
        return disk and machine and self.ask("attachVolume", id=disk["id"], virtualmachineid=machine["id"])

    def do_detach(self):
        disk = self.disk(True)
        return disk and self.ask("detachVolume", id=disk["id"])

    def do_resize(self):
        disk = self.disk(self.chance.random() < 0.5)
        return disk and self.ask("resizeVolume", id=disk["id"], diskofferingid=self.chance.choice(self.cloud.disks))

    def do_delete_volume(self):
        disk = self.disk(False)
        return disk and self.drops("volume", "deleteVolume", disk["id"])

    def do_snapshot(self):
        found = self.client.ask("listVolumes", listall=True, keyword=f"w{self.number}-").get("volume", [])
        disk = self.chance.choice(found) if found else None
        return disk and self.makes("snapshot", "createSnapshot", volumeid=disk["id"], name=self.name())

    def do_revert(self):
        found = self.some_snapshot()
        return found and self.ask("revertSnapshot", id=found["id"])

    def do_delete_snapshot(self):
        found = self.some_snapshot()
        return found and self.drops("snapshot", "deleteSnapshot", found["id"])

    def do_from_snapshot(self):
        found = self.some_snapshot()
        return found and self.makes("volume", "createVolume", snapshotid=found["id"], name=self.name())

    def do_vm_snapshot(self):
        found = self.machine("Running", "Stopped")
        return found and self.ask(
            "createVMSnapshot",
            virtualmachineid=found["id"],
            name=self.name(),
            snapshotmemory=found["state"] == "Running",
        )

    def do_revert_vm_snapshot(self):
        found = self.some_vm_snapshot()
        return found and self.ask("revertToVMSnapshot", vmsnapshotid=found["id"])

    def do_delete_vm_snapshot(self):
        found = self.some_vm_snapshot()
        return found and self.ask("deleteVMSnapshot", vmsnapshotid=found["id"])

    def do_move_volume(self):
        disk = self.disk(self.chance.random() < 0.5)
        if disk is None or "storageid" not in disk:
            return None
        there = self.other_pool(disk["storageid"])
        return self.ask("migrateVolume", volumeid=disk["id"], storageid=there, livemigrate=True)

    def do_assign(self):
        found = self.machine("Stopped")
        if found is None:
            return None
        other = "walker" if found["account"] == "admin" else "admin"
        return self.ask("assignVirtualMachine", virtualmachineid=found["id"], account=other, domainid=self.cloud.domain)

    def do_template(self):
        disk, snapshot = self.disk(False), self.some_snapshot()
        source = {"volumeid": disk["id"]} if disk else {"snapshotid": snapshot["id"]} if snapshot else None
        return source and self.ask("createTemplate", name=self.name(), ostypeid=self.cloud.os_type, **source)

    def do_delete_template(self):
        found = self.some_template()
        return found and self.ask("deleteTemplate", id=found["id"])
