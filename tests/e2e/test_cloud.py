"""A real cloud: hosts by the roles, a zone by the modules, QEMU guests by the agent, a router by its document.

One deployment serves all; the tests stand in the order in which they disturb it more and more.
"""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import wait

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(1800)]


def boots(lab, address):
    """How often the guest has booted, as it says itself."""
    found = re.search(r'"boots":(\d+)', lab.page(address, "/cgi-bin/status"))
    return int(found[1]) if found else 0


def test_the_guest_answers_and_ran_its_user_data(lab):
    guest = lab.guest()
    assert guest["state"] == "Running" and guest["ipaddress"].startswith("10.92.0.")
    assert lab.page(guest["ipaddress"]).strip() == "first was deployed by cloudwright.cloud"
    assert lab.login(guest["ipaddress"], "hostname").strip() == "first"


def test_the_summary_says_how_to_go_on(lab):
    for word in ("API", "credentials", "log in to it", "cloud-down"):
        assert word in lab.said


def test_doctor_is_content(lab):
    told = lab.on("mgmt", "/opt/cloudwright/bin/cloudwright doctor")
    assert " 0 fail" in told, told


def test_disks_lie_on_the_hosts_and_images_on_nfs(lab):
    client = lab.client
    pools = {(p["scope"], p["type"]) for p in client.ask("listStoragePools")["storagepool"]}
    assert pools == {("HOST", "Filesystem"), ("CLUSTER", "SharedMountPoint")}
    (disk,) = client.ask("listVolumes", virtualmachineid=lab.guest()["id"])["volume"]
    assert disk["storagetype"] == "local"
    (store,) = client.ask("listImageStores")["imagestore"]
    assert store["url"].startswith("nfs://")
    assert "template" in lab.inside("nfs-ls", f"{store['url']}?version=3")


def test_the_router_lets_people_in_only_over_the_control_link(lab):
    (router,) = lab.client.ask("listRouters", listall="true")["router"]
    host = router["hostname"].split(".")[0]
    probe = "timeout 4 bash -c 'exec 3<>/dev/tcp/{}/{}' && echo open || echo closed"
    assert lab.on(host, probe.format(router["linklocalip"], 3922)).strip() == "open"
    seen = lab.inside("bash", "-c", probe.format(router["guestipaddress"], 3922))
    assert seen.strip() == "closed"
    assert lab.inside("bash", "-c", probe.format(router["guestipaddress"], 53)).strip() == "open"


def test_a_guest_gets_its_own_metadata_and_no_other_machine_does(lab):
    guest = lab.guest()
    (router,) = lab.client.ask("listRouters", listall="true")["router"]
    url = f"http://{router['guestipaddress']}/latest/meta-data/instance-id"
    assert guest["id"] in lab.login(guest["ipaddress"], f"wget -q -O - {url}")
    assert guest["id"] not in lab.inside("curl", "-s", "--max-time", "4", url)


def test_names_resolve_inside_the_network(lab):
    guest = lab.guest()
    assert guest["ipaddress"] in lab.login(guest["ipaddress"], "nslookup first 2>&1")


def test_a_second_run_changes_nothing(lab):
    again = lab.cloud("up")
    assert again.returncode == 0 and "Nothing changed" in again.stdout, again.stdout[-3000:]
    summary = again.stdout[again.stdout.index("API  ") :]
    assert summary == lab.said[lab.said.index("API  ") :]


def test_the_site_in_check_mode_reports_no_change(lab):
    done = lab.play("site.yml", "--check")
    assert done.returncode == 0, done.stdout[-3000:]
    changes = re.findall(r"changed=(\d+)", done.stdout)
    assert changes and set(changes) == {"0"}, [line for line in done.stdout.splitlines() if line.startswith("changed:")]


def test_stop_start_reboot(lab):
    client, guest = lab.client, lab.guest()
    address, before = guest["ipaddress"], boots(lab, guest["ipaddress"])
    client.job("rebootVirtualMachine", id=guest["id"], seconds=300)
    wait(lambda: boots(lab, address) == before + 1, 180)
    stopped = client.job("stopVirtualMachine", id=guest["id"], seconds=300)["virtualmachine"]
    assert stopped["state"] == "Stopped" and lab.page(address) == ""
    client.job("startVirtualMachine", id=guest["id"], seconds=300)
    wait(lambda: boots(lab, address) == before + 2, 180)
    assert lab.guest()["ipaddress"] == address


def test_the_agent_may_be_restarted_beneath_a_guest(lab):
    guest = lab.guest()
    host, before = guest["hostname"], boots(lab, guest["ipaddress"])
    lab.on(host.split(".")[0], "systemctl restart cloudwright-agent")
    up = {"name": host, "type": "Routing"}
    wait(lambda: lab.client.ask("listHosts", **up)["host"][0]["state"] == "Up", 90)
    assert boots(lab, guest["ipaddress"]) == before and lab.guest()["state"] == "Running"


def test_the_server_may_be_restarted_and_killed_while_a_guest_is_deployed(lab):
    guest = lab.guest()
    before = boots(lab, guest["ipaddress"])
    client = lab.client
    offering = client.ask("listServiceOfferings", name="tiny")["serviceoffering"][0]["id"]
    template = client.ask("listTemplates", templatefilter="all", name="tiny")["template"][0]["id"]
    network = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    accepted = client.ask(
        "deployVirtualMachine", name="second", zoneid=guest["zoneid"], serviceofferingid=offering, templateid=template,
        networkids=network,
    )  # fmt: skip
    lab.on("mgmt", "systemctl kill --signal=KILL cloudwright")
    wait(lambda: client.ask("queryAsyncJobResult", jobid=accepted["jobid"])["jobstatus"] == 1, 240)
    second = lab.guest("second")
    wait(lambda: lab.page(second["ipaddress"]).strip() == "second", 180)
    assert boots(lab, guest["ipaddress"]) == before, "the first guest was not touched"
    domains = lab.on("kvm1", "virsh list --all --name") + lab.on("kvm2", "virsh list --all --name")
    assert domains.count(second["instancename"]) == 1


def test_a_guest_that_shuts_down_by_itself_is_seen(lab):
    guest = lab.guest()
    lab.login(guest["ipaddress"], "poweroff")
    wait(lambda: lab.guest()["state"] == "Stopped", 120)
    lab.client.job("startVirtualMachine", id=guest["id"], seconds=300)
    wait(lambda: lab.page(guest["ipaddress"]), 180)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1/x.qcow2", "127.0.0.1"),
        ("http://169.254.169.254/x.qcow2", "169.254.169.254"),
        ("file:///etc/passwd", "http"),
    ],
)
def test_urls_into_the_inside_are_refused(lab, url, told):
    client = lab.client
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    with pytest.raises(RuntimeError, match="431") as no:
        client.ask(
            "registerTemplate", name="bad", displaytext="bad", url=url, format="QCOW2", hypervisor="KVM",
            ostypeid=os_type, zoneid=lab.guest()["zoneid"],
        )  # fmt: skip
    assert told in str(no.value)
    assert "template" not in client.ask("listTemplates", templatefilter="all", name="bad")


@pytest.mark.parametrize(("path", "told"), [("nothing.qcow2", "404"), ("", "")])
def test_a_template_that_is_none_says_so(lab, path, told):
    client = lab.client
    os_type = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    url = f"http://10.91.0.13/{path}" if path else "http://10.91.0.10:8080/docs.qcow2"
    made = client.ask(
        "registerTemplate", name="broken", displaytext="broken", url=url, format="QCOW2", hypervisor="KVM",
        ostypeid=os_type, zoneid=lab.guest()["zoneid"],
    )["template"][0]  # fmt: skip

    def status():
        (found,) = client.ask("listTemplates", templatefilter="all", id=made["id"])["template"]
        return found["status"] if found["status"] and "%" not in found["status"] and not found["isready"] else None

    said = wait(status, 60)
    assert told in said and said != "Download Complete", said
    client.job("deleteTemplate", id=made["id"])


def test_a_wrong_nfs_path_is_refused(lab):
    with pytest.raises(RuntimeError) as no:
        lab.client.ask(
            "addImageStore", provider="NFS", url="nfs://10.91.0.13/srv/export/nowhere", zoneid=lab.guest()["zoneid"],
            name="wrong",
        )  # fmt: skip
    assert "/srv/export/nowhere" in str(no.value)
    assert lab.client.ask("listImageStores")["count"] == 1


def test_what_is_expunged_leaves_nothing(lab):
    client, second = lab.client, lab.guest("second")
    host = second["hostname"].split(".")[0]
    (disk,) = client.ask("listVolumes", virtualmachineid=second["id"])["volume"]
    assert disk["path"] in lab.on(host, "ls /var/lib/libvirt/images")
    client.job("destroyVirtualMachine", id=second["id"], expunge="true", seconds=300)
    assert disk["path"] not in lab.on(host, "ls /var/lib/libvirt/images")
    assert second["instancename"] not in lab.on(host, "virsh list --all --name")
    assert "virtualmachine" not in client.ask("listVirtualMachines", id=second["id"])
    assert lab.page(second["ipaddress"]) == ""
