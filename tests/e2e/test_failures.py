"""What goes wrong in a real cloud: servers that die, labels and paths that name nothing.

Each time there is one clear reason, and nothing is left behind. Runs after test_cloud.py, on the same lab.
"""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.e2e.conftest import wait

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]

DOCTOR = "/opt/cloudwright/bin/cloudwright doctor --json"
PROMISED = {0: "memory", 1: "CPU", 4: "public addresses", 5: "management addresses", 8: "shared addresses", 9: "disks"}


def host_of(machine):
    return machine["hostname"].split(".")[0]


def emulator(lab, machine):
    """The process of a machine on its host: another one means that it was started anew."""
    return lab.on(host_of(machine), f"cat /run/libvirt/qemu/{machine['instancename']}.pid").strip()


def machines(lab):
    """All domains of all hosts, also those that are off."""
    return [n for host in ("kvm1", "kvm2") for n in lab.on(host, "virsh list --all --name").split()]


def disk(client, machine):
    (found,) = client.ask("listVolumes", virtualmachineid=machine)["volume"]
    return found


def files(lab):
    """Disks on the hosts, without the templates that stay there for the next guest."""
    return {n for host in ("kvm1", "kvm2") for n in lab.on(host, "ls /var/lib/libvirt/images").split()}


def copies(lab):
    """Bytes that hosts' pools promised to templates and ISOs which they keep for the next guest. They come with a
    guest, and go some minutes after their template, whatever a test does meanwhile."""
    each = "qemu-img info -U --output=json $f | grep '^    \"virtual-size\"'"
    every = f"cd /var/lib/libvirt/images; for f in template-*; do test ! -e $f || {each}; done"
    told = [lab.on(host, every, check=False) for host in ("kvm1", "kvm2")]
    return sum(int(line.strip(" ,").split()[-1]) for sizes in told for line in sizes.splitlines())


def promised(lab, client):
    """What is taken of everything that machines take."""
    found = {
        PROMISED[c["type"]]: c["capacityused"] for c in client.ask("listCapacity")["capacity"] if c["type"] in PROMISED
    }
    return found | {"disks": found["disks"] - copies(lab)}


def comes_to(lab, client, before):
    """Wait until so much is promised: a copy's file goes a moment before its promise."""

    def seen():
        told.append(promised(lab, client))
        return told[-1] == before

    told = []
    with contextlib.suppress(AssertionError):
        wait(seen, 30)
    assert told[-1] == before


def findings(lab):
    """What the doctor found: status -> texts."""
    told = json.loads(lab.on("mgmt", DOCTOR, check=False))
    found = {}
    for each in told["checks"] if isinstance(told, dict) else told:
        found.setdefault(each["status"], []).append(f"{each['name']}: {each['evidence']} -> {each['remedy']}")
    return found


@pytest.fixture(scope="module")
def deploy(lab, client):
    """Ask for one more guest like the first: the id of its job, at once."""
    offering = client.ask("listServiceOfferings", name="tiny")["serviceoffering"][0]["id"]
    template = client.ask("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"]
    network = client.ask("listNetworks", keyword="guests")["network"][0]["id"]

    def asked(name, **other):
        sent = {"serviceofferingid": offering, "templateid": template, "networkids": network} | other
        return client.ask("deployVirtualMachine", name=name, zoneid=lab.guest()["zoneid"], **sent)

    return asked


def restarted(lab):
    """Wait until the server answers and has its hosts again."""
    wait(lambda: lab.inside("curl", "-sf", "--max-time", "3", "http://10.91.0.10:8080/healthz"), 60, pause=0.3)
    wait(lambda: all(h["state"] == "Up" for h in lab.client.ask("listHosts", type="Routing")["host"]), 90)


def test_a_restarted_server_finds_guests_as_they_are(lab):
    before, process = lab.guest(), emulator(lab, lab.guest())
    lab.on("mgmt", "systemctl restart cloudwright")
    restarted(lab)
    after = lab.guest()
    assert (after["state"], after["hostid"]) == ("Running", before["hostid"])
    assert emulator(lab, after) == process
    assert lab.page(after["ipaddress"]).strip() == "first was deployed by cloudwright.cloud"


def test_the_agent_of_a_restarted_host_connects_beside_its_guest(lab):
    guest = lab.guest()
    process = emulator(lab, guest)
    lab.on(host_of(guest), "systemctl restart cloudwright-agent")
    probe = "ss -Htnp state established dport = :8250 | grep -c $(systemctl show -P MainPID cloudwright-agent)"
    wait(lambda: lab.on(host_of(guest), probe, check=False).strip() not in ("", "0"), 60)
    restarted(lab)
    assert emulator(lab, guest) == process and lab.page(guest["ipaddress"])


@pytest.fixture(scope="module")
def third(lab, client, deploy):
    """A guest whose deployment lost its server; expunged by the last test that uses it. With the figures before it."""
    before = {"promised": promised(lab, client), "files": files(lab)}
    accepted = deploy("third")
    wait(lambda: lab.guest("third")["state"] == "Starting", 60, pause=0.1)
    lab.on("mgmt", "systemctl kill --signal=KILL cloudwright")
    restarted(lab)
    try:
        yield before | {"job": accepted["jobid"], "id": accepted["id"]}
    finally:
        with contextlib.suppress(RuntimeError):
            client.job("destroyVirtualMachine", id=accepted["id"], expunge="true", seconds=300)


def test_a_deployment_survives_its_server_and_happens_once(lab, client, third):
    wait(lambda: client.ask("queryAsyncJobResult", jobid=third["job"])["jobstatus"] == 1, 240)
    guest = lab.guest("third")
    assert guest["id"] == third["id"] and guest["state"] == "Running"
    wait(lambda: lab.page(guest["ipaddress"]).strip() == "third", 180)
    assert machines(lab).count(guest["instancename"]) == 1
    events = client.ask("listEvents", type="VM.CREATE", listall="true", pagesize=100, page=1)["event"]
    ended = [e for e in events if e["state"] == "Completed" and e.get("resourceid", guest["id"]) == guest["id"]]
    assert len([e for e in ended if "third" in e["description"] or e.get("resourceid")]) == 1, events


def test_a_guest_is_promised_what_it_has(lab, client, third):
    taken = {"memory": 256 << 20, "CPU": 250, "shared addresses": 1, "disks": disk(client, third["id"])["size"]}
    before = third["promised"]
    comes_to(lab, client, before | {what: before[what] + amount for what, amount in taken.items()})


def test_an_expunged_guest_leaves_no_disk_domain_name_or_promise(lab, client, third):
    guest, first = lab.guest("third"), lab.guest()
    assert guest["ipaddress"] in lab.login(first["ipaddress"], "nslookup third 2>&1")
    client.job("destroyVirtualMachine", id=guest["id"], expunge="true", seconds=300)
    assert guest["instancename"] not in machines(lab)
    assert {n for n in files(lab) - third["files"] if "tmpl" not in n and "template" not in n} == set()
    assert guest["ipaddress"] not in lab.login(first["ipaddress"], "nslookup third 2>&1")
    comes_to(lab, client, third["promised"])


def test_a_label_that_names_no_bridge(lab, client, deploy):
    """The doctor says so, a deployment fails with it, and right again everything goes on."""
    before, there = promised(lab, client), machines(lab)
    (network,) = client.ask("listPhysicalNetworks")["physicalnetwork"]
    types = client.ask("listTrafficTypes", physicalnetworkid=network["id"])["traffictype"]
    (guest_traffic,) = [t for t in types if t["traffictype"] == "Guest"]
    client.job("updateTrafficType", id=guest_traffic["id"], kvmnetworklabel="cloudbr9")
    accepted = deploy("fourth")
    try:
        with pytest.raises(RuntimeError, match="no bridge 'cloudbr9'.*cloudbr1"):
            client.wait(accepted["jobid"], seconds=180)
        assert any("cloudbr9" in text and "updateTrafficType" in text for text in findings(lab)["fail"])
    finally:
        client.job("updateTrafficType", id=guest_traffic["id"], kvmnetworklabel="cloudbr1")
        left = client.ask("listVirtualMachines", id=accepted["id"]).get("virtualmachine", [])
        for machine in left:
            client.job("destroyVirtualMachine", id=machine["id"], expunge="true", seconds=300)
    assert [machine["state"] for machine in left] in ([], ["Error"])
    comes_to(lab, client, before)
    assert machines(lab) == there
    assert "fail" not in findings(lab)


def test_primary_storage_on_a_path_that_is_not_exported(lab, client):
    (pod,) = client.ask("listPods")["pod"]
    (cluster,) = client.ask("listClusters")["cluster"]
    before = client.ask("listStoragePools")["count"]
    with pytest.raises(RuntimeError, match="/srv/export/nowhere.*kvm[12].*"):
        client.ask(
            "createStoragePool", name="wrong", url="nfs://10.91.0.13/srv/export/nowhere", zoneid=pod["zoneid"],
            podid=pod["id"], clusterid=cluster["id"],
        )  # fmt: skip
    assert client.ask("listStoragePools")["count"] == before


def test_a_template_that_cannot_be_fetched_and_a_guest_without_an_image(lab, client, deploy):
    (os_type, *_) = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"]
    before = len(machines(lab))
    (made,) = client.ask(
        "registerTemplate", name="away", displaytext="away", url="http://10.91.0.1:81/x.qcow2", format="QCOW2",
        hypervisor="KVM", ostypeid=os_type["id"], zoneid=lab.guest()["zoneid"],
    )["template"]  # fmt: skip
    try:

        def refused():
            (found,) = client.ask("listTemplates", templatefilter="all", id=made["id"])["template"]
            return not found["isready"] and "10.91.0.1" in found["status"] and "refused" in found["status"].lower()

        wait(refused, 90)
        with pytest.raises(RuntimeError, match="431: The template away is not ready .* refused.* listTemplates"):
            deploy("fifth", templateid=made["id"])
        assert len(machines(lab)) == before
    finally:
        client.job("deleteTemplate", id=made["id"])
    with pytest.raises(RuntimeError, match=r"431.*templateid"):
        deploy("fifth", templateid="")
    assert "fifth" not in [machine["name"] for machine in client.ask("listVirtualMachines")["virtualmachine"]]


def test_in_the_end_all_is_well(lab):
    found = findings(lab)
    assert "fail" not in found
    # kernels of machines that host labs often lack the modules
    assert [told for told in found.get("warn", []) if not told.startswith("NIC limits")] == []
    assert lab.play("healthcheck.yml").returncode == 0
