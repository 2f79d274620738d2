"""Lists by ids=, and in the order of sort keys: each command that takes them."""

import pytest

from tests.api.test_networkoffering import ISOLATED
from tests.contract.test_registry import ALL
from tests.simulated import build

LISTS = {
    "listOsTypes": "ostype", "listSnapshots": "snapshot", "listTemplates": "template",
    "listVirtualMachines": "virtualmachine", "listVirtualMachinesMetrics": "virtualmachine", "listVolumes": "volume",
    "listVolumesMetrics": "volume", "listZones": "zone", "listZonesMetrics": "zone",
}  # fmt: skip
SORTED = {
    "updateDiskOffering": ("listDiskOfferings", "diskoffering"),
    "updateIso": ("listIsos", "iso"),
    "updateNetworkOffering": ("listNetworkOfferings", "networkoffering"),
    "updateOsCategory": ("listOsCategories", "oscategory"),
    "updateServiceOffering": ("listServiceOfferings", "serviceoffering"),
    "updateTemplate": ("listTemplates", "template"),
    "updateZone": ("listZones", "zone"),
}
MORE = {"listTemplates": {"templatefilter": "all"}, "listIsos": {"isofilter": "all"}}


class Maker:
    """Makes three of a kind: their ids."""

    def __init__(self, cloud):
        self.cloud = cloud

    def _asked(self, command, key, **sent):
        return [self._one(self.cloud.ask(command, name=f"t{n}", **sent)[key])["id"] for n in range(3)]

    def _one(self, made):
        return made[0] if isinstance(made, list) else made

    def zone(self):
        return self._asked("createZone", "zone", networktype="Advanced", dns1="192.0.2.53", internaldns1="192.0.2.54")

    def diskoffering(self):
        return self._asked("createDiskOffering", "diskoffering", displaytext="d", disksize=1)

    def serviceoffering(self):
        size = {"cpunumber": 1, "cpuspeed": 100, "memory": 128}
        return self._asked("createServiceOffering", "serviceoffering", displaytext="d", **size)

    def networkoffering(self):
        sent = {k: v for k, v in ISOLATED.items() if k != "name"}
        return self._asked("createNetworkOffering", "networkoffering", **sent)

    def oscategory(self):
        return self._asked("addOsCategory", "oscategory")

    def _image(self):
        return {"zoneid": build()["zone"], "ostypeid": self._os("Other Linux (64-bit)"), "displaytext": "d"}

    def _os(self, name):
        return self.cloud.ask("listOsTypes", description=name)["ostype"][0]["id"]

    def template(self):
        what = {"url": "http://127.0.0.1:1/t.qcow2", "format": "QCOW2", "hypervisor": "Simulator"}
        return self._asked("registerTemplate", "template", **what, **self._image())

    def iso(self):
        return self._asked("registerIso", "iso", url="http://127.0.0.1:1/t.iso", **self._image())

    def ostype(self):
        return [o["id"] for o in self.cloud.ask("listOsTypes", pagesize=3, page=1)["ostype"]]

    def virtualmachine(self):
        zone = build()
        offering = self.cloud.ask("listServiceOfferings", name="Small Instance")["serviceoffering"][0]["id"]
        sent = {"zoneid": zone["zone"], "templateid": zone["template"], "serviceofferingid": offering}
        return [self.cloud.job("deployVirtualMachine", **sent)["virtualmachine"]["id"] for _ in range(3)]

    def volume(self):
        found = [self.cloud.ask("listVolumes", virtualmachineid=vm)["volume"] for vm in self.virtualmachine()]
        return [volume["id"] for (volume,) in found]

    def snapshot(self):
        return [self.cloud.job("createSnapshot", volumeid=v)["snapshot"]["id"] for v in self.volume()]


def taking(parameter):
    return {name for name, command in ALL.items() if parameter in {p.name for p in command.parameters}}


def test_each_command_that_takes_them_is_here():
    assert {name for name in taking("ids") if name.startswith("list")} == set(LISTS)
    assert taking("sortkey") == set(SORTED)


@pytest.mark.parametrize("command", LISTS)
def test_ids_choose_those_and_no_other(cloud, command):
    key = LISTS[command]
    made = getattr(Maker(cloud), key)()

    def listed(**sent):
        told = cloud.ask(command, **sent, **MORE.get(command, {}))
        assert told["count"] == len(told[key])
        return [one["id"] for one in told[key]]

    assert set(made) <= set(listed()) and len(set(made)) == 3
    assert sorted(listed(ids=[made[0], made[2]])) == sorted([made[0], made[2]])
    assert listed(ids=made[1]) == [made[1]]


COUNTED = {
    "listNetworks": "network", "listPublicIpAddresses": "publicipaddress", "listVirtualMachines": "virtualmachine",
    "listVirtualMachinesMetrics": "virtualmachine", "listVolumes": "volume", "listVolumesMetrics": "volume",
}  # fmt: skip


def test_each_command_that_tells_the_count_alone_does(cloud):
    assert taking("retrieveonlyresourcecount") == set(COUNTED)
    Maker(cloud).virtualmachine()
    cloud.account("ann", domain="/a/")
    for command, key in COUNTED.items():
        more = {"allocatedonly": False} if key == "publicipaddress" else {}
        whole = cloud.ask(command, **more)
        assert whole["count"] == len(whole[key]) > 0, command
        alone = {"retrieveonlyresourcecount": "True", **more}
        assert cloud.ask(command, **alone) == {"count": whole["count"]}, command
        assert cloud.ask(command, page=2, pagesize=1, **alone) == {"count": whole["count"]}, command
        assert cloud.ask(command, keyword="no such name", **alone) == {}, command
        assert len(cloud.ask(command, **more, retrieveonlyresourcecount=False)[key]) == whole["count"], command
    seen = cloud.ask("listVirtualMachines", user="ann", listall=True, retrieveonlyresourcecount=True)
    assert seen == {}, "the count is of what the caller may see"
    assert "zone" in cloud.ask("listZones", retrieveonlyresourcecount=True), "no parameter of that list"


@pytest.mark.parametrize("command", SORTED)
def test_lists_are_in_the_order_of_the_sort_keys(cloud, command):
    listing, key = SORTED[command]
    made = getattr(Maker(cloud), key)()

    def order():
        return [one["id"] for one in cloud.ask(listing, **MORE.get(listing, {}))[key] if one["id"] in made]

    for keys in ((30, 10, 20), (-1, 5, -7)):
        for one, number in zip(made, keys, strict=True):
            cloud.ask(command, id=one, sortkey=number)
        assert order() == [one for _, one in sorted(zip(keys, made, strict=True))], keys
