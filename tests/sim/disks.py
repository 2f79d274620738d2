"""What a client does with disks, snapshots and templates besides the usual: see tests/sim/tenant.py."""

from __future__ import annotations

HOURLY = {"intervaltype": "HOURLY", "schedule": "30", "timezone": "GMT", "maxsnaps": 2}
IMAGE = "http://images.example.org/disk.qcow2"  # nobody fetches it: simulated stores have what they are asked for


class Disks:
    """Operations: nothing when there was nothing to do it with, or it failed."""

    def other_pool(self, pool):
        return next(p for p in self.cloud.pools if p != pool)

    def do_extract(self):
        disk = self.disk(False)
        return disk and self.ask("extractVolume", id=disk["id"], zoneid=self.cloud.zone["zone"], mode="HTTP_DOWNLOAD")

    def do_upload(self):
        sent = {"zoneid": self.cloud.zone["zone"], "name": self.name(), "url": IMAGE, "format": "QCOW2"}
        return self.makes("volume", "uploadVolume", **sent)

    def do_change_disk_offering(self):
        disk, offering = self.disk(self.chance.random() < 0.5), self.chance.choice(self.cloud.disks)
        return disk and self.ask("changeOfferingForVolume", id=disk["id"], diskofferingid=offering)

    def do_give_disk(self):
        disk = self.disk(False)
        if disk is None:
            return None
        other = "walker" if disk["account"] == "admin" else "admin"
        return self.ask("assignVolume", volumeid=disk["id"], accountid=self.cloud.accounts[other])

    def do_destroy_and_recover_disk(self):
        disk = self.disk(False)
        if disk is None or self.ask("destroyVolume", id=disk["id"]) is None:
            return None
        return self.ask("recoverVolume", id=disk["id"])

    def do_let_disk_go_and_take_back(self):
        disk = self.disk(False)
        if disk is None or disk["account"] != "admin" or disk["state"] != "Ready":
            return None
        if self.drops("volume", "unmanageVolume", disk["id"]) is None:
            self.kept["volume"].add(disk["id"])
            return None
        self.disks_let_go.append(disk)
        return self.take_disk_back(disk)

    def take_disk_back(self, disk):
        path = self.cloud.path_of(disk["id"])
        back = self.makes("volume", "importVolume", path=path, storageid=disk["storageid"], name=disk["name"])
        if back is not None:
            self.disks_let_go.remove(disk)
        return back

    def do_policy(self):
        disk = self.disk(self.chance.random() < 0.5)
        return disk and self.ask("createSnapshotPolicy", volumeid=disk["id"], **HOURLY)

    def do_delete_policy(self):
        found = self.client.ask("listSnapshotPolicies", listall=True).get("snapshotpolicy", [])
        return found and self.ask("deleteSnapshotPolicies", id=self.chance.choice(found)["id"])

    def do_copy_snapshot(self):
        found = self.some_snapshot()
        return found and self.ask("copySnapshot", id=found["id"], destzoneid=self.cloud.other_zone)

    def do_copy_template(self):
        found = self.some_template()
        return found and self.ask("copyTemplate", id=found["id"], destzoneid=self.cloud.other_zone)

    def do_extract_template(self):
        found = self.some_template()
        return found and self.ask(
            "extractTemplate", id=found["id"], zoneid=self.cloud.zone["zone"], mode="HTTP_DOWNLOAD"
        )

    def do_prepare_template(self):
        pool, zone = self.chance.choice(self.cloud.pools), self.cloud.zone
        self.ask("prepareTemplate", templateid=zone["template"], zoneid=zone["zone"], storageid=pool)
        return True

    def some_template(self):
        found = self.client.ask("listTemplates", templatefilter="self", keyword=f"w{self.number}-").get("template")
        return self.chance.choice(found) if found else None
