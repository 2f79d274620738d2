"""An OVA of two disks, made from the tiny guest: its machine runs with both, in the pool's format."""

from __future__ import annotations

import pytest

from tests.api.appliances import ovf
from tests.e2e.conftest import wait
from tests.e2e.machine import STORE, Machine

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]

WEB = "/srv/cloudwright"
FURTHER = 24  # MiB
WORDS = "of the second disk"
DISKS = f"""cd {WEB} && mkdir -p ova.d && truncate -s {FURTHER}M ova.d/raw &&
printf '{WORDS}' | dd of=ova.d/raw conv=notrunc 2>&1 &&
qemu-img convert -O vmdk -o subformat=streamOptimized ova.d/raw ova.d/d1.vmdk && rm ova.d/raw &&
qemu-img convert -f qcow2 -O vmdk -o subformat=streamOptimized tiny-guest.qcow2 ova.d/d0.vmdk &&
qemu-img info --output=json tiny-guest.qcow2 | grep -m1 virtual-size | tr -dc 0-9"""


@pytest.fixture(scope="module")
def place(lab, client):
    """Ids of what the machine is made of. Taken away at the end."""
    made = {"zoneid": lab.guest()["zoneid"]}
    made["networkids"] = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    offering = client.ask(
        "createServiceOffering", name="e2e appliance", displaytext="appliance", cpunumber=1, cpuspeed=250, memory=192,
        storagetype="local",
    )["serviceoffering"]["id"]  # fmt: skip
    further = client.ask(
        "createDiskOffering", name="e2e further", displaytext="further", disksize=1, storagetype="local"
    )["diskoffering"]["id"]
    made["serviceofferingid"] = offering
    yield made | {"further": further}
    client.ask("deleteServiceOffering", id=offering)
    client.ask("deleteDiskOffering", id=further)


@pytest.fixture(scope="module")
def template(lab, client, place):
    size = int(lab.on("store", DISKS, seconds=300).split()[-1])
    text = ovf((-(-size // 2**20), FURTHER), nics=((8, "Network adapter 1", "front"),))
    lab.on("store", f"cd {WEB}/ova.d && cat > m.ovf <<'END'\n{text}\nEND\ntar cf ../e2e.ova m.ovf d0.vmdk d1.vmdk")
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    made = client.ask(
        "registerTemplate", name="appliance", displaytext="appliance", url=f"{STORE}/e2e.ova", format="OVA",
        hypervisor="KVM", ostypeid=os_type, zoneid=place["zoneid"],
    )["template"][0]["id"]  # fmt: skip
    listed = {"templatefilter": "self", "id": made}
    wait(lambda: client.ask("listTemplates", **listed)["template"][0]["isready"], 300)
    yield client.ask("listTemplates", **listed)["template"][0]
    client.job("deleteTemplate", id=made, seconds=120)
    lab.on("store", f"cd {WEB} && rm -r ova.d e2e.ova")


def test_a_machine_of_an_appliance_runs_with_all_its_disks(lab, client, place, template):
    (child,) = template["childtemplates"]
    assert (child["templatetype"], child["size"]) == ("DATADISK", FURTHER << 20)
    wanted = {k: v for k, v in place.items() if k != "further"}
    key = "datadiskofferinglist[0]"
    accepted = client.ask(
        "deployVirtualMachine", name="appliance", templateid=template["id"], keypair="lab-guest", **wanted,
        **{f"{key}.datadisktemplateid": child["id"], f"{key}.diskofferingid": place["further"]},
    )  # fmt: skip
    guest = Machine(lab, client, accepted["id"])
    try:
        client.wait(accepted["jobid"], seconds=400)
        guest.comes(1)
        assert guest.does("hostname") == "appliance"
        (data,) = client.ask("listVolumes", virtualmachineid=guest.id, type="DATADISK")["volume"]
        seen = guest.disk(data["id"])
        assert seen and seen["bytes"] == data["size"] >= FURTHER << 20
        assert guest.does(f"head -c {len(WORDS)} /dev/{seen['name']}") == WORDS
        formats = lab.on(guest.host, f"virsh dumpxml {guest.now['instancename']} | grep -c \"<driver.*type='qcow2'\"")
        assert formats.strip() == "2"
    finally:
        client.job("destroyVirtualMachine", id=guest.id, expunge="true", seconds=300)
    assert client.ask("listVolumes", keyword="appliance") == {}
