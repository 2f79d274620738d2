"""Templates by other ways than a plain download: over TLS, copied to another zone, imported where somebody put their
files, prepared in a pool before any guest. Runs on the lab of the others, and leaves it as it was.
"""

from __future__ import annotations

import json

import pytest

from tests.certificates import authority, serving
from tests.e2e.conftest import wait
from tests.e2e.images import digest, fetched
from tests.e2e.machine import STORE, Machine

pytestmark = [pytest.mark.lab, pytest.mark.guests, pytest.mark.timeout(900)]

WEB = "/srv/cloudwright"
SECURE = STORE.replace("http:", "https:")
IMAGE = f"{WEB}/tiny-guest.qcow2"
CERTIFICATE, TRUSTED = "/etc/nginx/e2e.pem", "/usr/local/share/ca-certificates/e2e.crt"
SITE, BLOCK = (
    "/etc/nginx/conf.d/e2e.conf",
    f"""server {{ listen 443 ssl; server_name _; root {WEB};
ssl_certificate {CERTIFICATE}; ssl_certificate_key {CERTIFICATE}; }}""",
)
EXPORT = "/srv/export/secondary"
FOLDER = "template/tmpl/2/9001"
POOL = "/mnt/shared"


@pytest.fixture(scope="module")
def place(lab, client):
    found = {"zoneid": lab.guest()["zoneid"], "hypervisor": "KVM"}
    found["ostypeid"] = client.ask("listOsTypes", keyword="Other Linux (64-bit)")["ostype"][0]["id"]
    return found


@pytest.fixture(scope="module")
def original(lab):
    """The checksum of the guest's image."""
    return lab.on("store", f"sha256sum {IMAGE}").split()[0]


@pytest.fixture(scope="module")
def secure(lab, tmp_path_factory):
    """The lab's web server over TLS too, under an authority of its own: that authority's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = authority()
    serving(key, folder, STORE.rpartition("/")[2])
    lab.on("store", f"umask 077; cat > {CERTIFICATE} <<'END'\n{(folder / 'server.pem').read_text()}\nEND")
    lab.on("store", f"cat > {SITE} <<'END'\n{BLOCK}\nEND\nsystemctl reload nginx")
    yield certificate
    lab.on("store", f"rm {SITE} {CERTIFICATE}; systemctl reload nginx")


def seen(client, template, **more):
    return client.ask("listTemplates", templatefilter="all", id=template, **more)["template"][0]


@pytest.fixture(scope="module")
def template(lab, client, place, secure, original, second_zone):
    """Registered while nobody knows the web server's authority; ready since the server's system trusts it. With what
    was told before that."""
    made = client.ask(
        "registerTemplate", name="secure", displaytext="secure", format="QCOW2", url=f"{SECURE}/tiny-guest.qcow2",
        checksum="{SHA-256}" + original, **place,
    )["template"][0]["id"]  # fmt: skip
    try:
        wait(lambda: SECURE in seen(client, made)["status"] or seen(client, made)["isready"], 60)
        before = seen(client, made)
        lab.on("mgmt", f"cat > {TRUSTED} <<'END'\n{secure}\nEND\nupdate-ca-certificates >/dev/null 2>&1")
        wait(lambda: seen(client, made)["isready"], 120)
        yield {"id": made, "before": before}
    finally:
        lab.on("mgmt", f"rm -f {TRUSTED}; update-ca-certificates --fresh >/dev/null 2>&1")
        client.job("deleteTemplate", id=made, seconds=120)


def test_a_web_server_is_believed_when_the_server_trusts_its_authority(template):
    assert "its certificate is not trusted" in template["before"]["status"] and not template["before"]["isready"]


def test_a_template_is_copied_to_another_zone_and_fetched_from_there(
    lab, client, place, template, original, second_zone, tmp_path
):
    id = template["id"]
    client.job("copyTemplate", id=id, sourcezoneid=place["zoneid"], destzoneid=second_zone, seconds=300)
    assert seen(client, id, zoneid=second_zone)["isready"]
    client.job("deleteTemplate", id=id, zoneid=place["zoneid"], seconds=120)
    assert ["/second-" in file for file in lab.on("store", f"find {EXPORT} -name '*{id}*'").split()] == [True]
    told = client.job("extractTemplate", id=id, zoneid=second_zone, mode="HTTP_DOWNLOAD", seconds=300)
    assert digest(fetched(lab, told["template"]["url"], tmp_path / "image")) == original


@pytest.fixture(scope="module")
def imported(lab, client, original):
    """A template whose files somebody copied to secondary storage, as another cloud has them there."""
    told = "filename=image.qcow2\nid=9001\nqcow2=true\npublic=true\nuniquename=e2e-9001\nname=imported\nhvm=true"
    lab.on("store", f"cd {EXPORT} && mkdir -p {FOLDER} && cp {IMAGE} {FOLDER}/image.qcow2")
    lab.on("store", f"printf '{told}\nchecksum={original}\n' > {EXPORT}/{FOLDER}/template.properties")
    lab.on("store", f"chown -R nobody:nogroup {EXPORT}/{FOLDER}")
    command = f"/opt/cloudwright/bin/cloudwright template import --store nfs://{STORE.rpartition('/')[2]}{EXPORT}"
    said = json.loads(lab.on("mgmt", command).strip().splitlines()[-1])
    (made,) = client.ask("listTemplates", templatefilter="all", name="imported")["template"]
    try:
        yield {"id": made["id"], "said": said}
    finally:
        client.job("deleteTemplate", id=made["id"], seconds=120)
        left = lab.on("store", f"find {EXPORT}/{FOLDER} -type f").split()
        lab.on("store", f"rm -r {EXPORT}/{FOLDER}")
    assert left == [f"{EXPORT}/{FOLDER}/template.properties"], "the image belonged to the template"


def in_pool(lab, template):
    """(inode, path) of a template's file in the pool that both hosts see."""
    return tuple(lab.on("kvm1", f"find {POOL} -name 'template-{template}*' -printf '%i %p'").split())


@pytest.fixture(scope="module")
def prepared(lab, client, place, imported):
    """The same template, in the pool before anybody needs it: its file there."""
    pool = client.ask("listStoragePools", name="shared")["storagepool"][0]["id"]
    client.ask("prepareTemplate", templateid=imported["id"], zoneid=place["zoneid"], storageid=pool)
    return wait(lambda: in_pool(lab, imported["id"]), 120)


def test_files_that_somebody_copied_become_a_template(lab, client, imported, original):
    assert imported["said"]["imported"] == [FOLDER] and not imported["said"]["failed"]
    found = seen(client, imported["id"])
    assert (found["isready"], found["account"], found["ispublic"]) == (True, "admin", True)
    assert lab.on("store", f"ls {EXPORT}/{FOLDER}").split() == ["image.qcow2", "template.properties"]


def test_a_guest_of_it_stands_on_what_was_prepared(lab, client, place, imported, prepared):
    network = client.ask("listNetworks", keyword="guests")["network"][0]["id"]
    offering = client.ask("listServiceOfferings", name="tiny-ha")["serviceoffering"][0]["id"]
    accepted = client.ask(
        "deployVirtualMachine", name="imported", zoneid=place["zoneid"], serviceofferingid=offering,
        templateid=imported["id"], networkids=network, keypair="lab-guest",
    )  # fmt: skip
    guest = Machine(lab, client, accepted["id"])
    try:
        client.wait(accepted["jobid"], seconds=300)
        guest.comes(1)
        assert guest.does("hostname") == "imported"
        told = lab.on(guest.host, f"qemu-img info -U --output=json {POOL}/{guest.root['path']}")
        assert json.loads(told)["full-backing-filename"] == prepared[1]
        assert in_pool(lab, imported["id"]) == prepared, "it is the file of before"
    finally:
        client.job("destroyVirtualMachine", id=guest.id, expunge="true", seconds=300)
