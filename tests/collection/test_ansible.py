"""The collection as Ansible runs it: the action plugin, delegation, async, defaults, secrets, the inventory.

All against the server in memory, behind a port: what is under test here is not the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.collection.servers import ROOT, SECRET, in_memory

PLAY = """
- name: Test
  hosts: {hosts}
  gather_facts: false
  module_defaults:
    group/cloudwright.cloud.cloud:
      api_credentials_file: {credentials}
      wait: true
      wait_timeout: 900
  tasks:
{tasks}
"""


@pytest.fixture
def made(tmp_path):
    with in_memory(tmp_path) as (server, cloud):
        yield server, cloud


def play(server, tasks, *options, hosts="localhost"):
    text = PLAY.format(hosts=hosts, credentials=server.credentials, tasks=tasks)
    return server.play(text, *options)


def test_the_zone_playbook_twice(made, tmp_path):
    from ansible_collections.cloudwright.cloud.tests.unit.samples import ZONE

    server, cloud = made
    (tmp_path / "zone.json").write_text(json.dumps({"cloudwright_zone": ZONE}))
    options = ["-e", f"@{tmp_path}/zone.json"]
    first = server.play(ROOT / "playbooks/zone.yml", *options)
    assert first.code == 0 and first.recap("changed") > 10, first.text
    assert [z["allocationstate"] for z in cloud.kinds["zone"].values()] == ["Enabled"]
    second = server.play(ROOT / "playbooks/zone.yml", *options)
    assert (second.code, second.recap("changed")) == (0, 0), second.text
    assert "[WARNING]: Using a template" not in second.text
    broken = server.play(ROOT / "playbooks/zone.yml", "-e", '{"cloudwright_zone": {"name": "x", "pds": []}}')
    assert broken.code != 0 and "pds" in broken.text and "dns1" in broken.text


SERVICE = "{{name: o, cpu_number: 1, cpu_speed: 100, memory: {memory}}}"


def test_check_diff_and_doing_in_the_worker(made):
    server, cloud = made
    task = f"    - cloudwright.cloud.service_offering: {SERVICE.format(memory=64)}\n"
    check = play(server, task, "--check", "--diff")
    assert check.recap("changed") == 1 and '+    "memory": 64' in check.text, check.text
    names = [o["name"] for o in cloud.kinds["serviceoffering"].values()]
    assert "o" not in names
    assert play(server, task).recap("changed") == 1
    assert play(server, task).recap("changed") == 0
    fixed = play(server, f"    - cloudwright.cloud.service_offering: {SERVICE.format(memory=65)}\n")
    assert fixed.code != 0 and "memory (is 64, asked for 65)" in fixed.text


def test_bad_options_are_named(made):
    server, _cloud = made
    told = play(server, "    - cloudwright.cloud.zone: {name: z, dns9: x}\n")
    assert told.code != 0 and "dns9" in told.text and "Supported parameters include" in told.text
    told = play(server, "    - cloudwright.cloud.zone: {dns1: x}\n")
    assert told.code != 0 and "one of the following is required: name, id" in told.text


def test_async_and_delegated_tasks_run_the_module_itself(made):
    server, cloud = made
    tasks = f"""
    - cloudwright.cloud.service_offering: {SERVICE.format(memory=64)}
      async: 60
      poll: 1
    - cloudwright.cloud.disk_offering: {{name: d, disk_size: 1}}
      delegate_to: other
      vars: {{ansible_connection: local, ansible_python_interpreter: "{sys.executable}"}}
"""
    done = play(server, tasks, "-e", f"ansible_python_interpreter={sys.executable}")
    assert (done.code, done.recap("changed")) == (0, 2), done.text
    assert "d" in [o["name"] for o in cloud.kinds["diskoffering"].values()]


def test_no_secret_at_the_highest_verbosity(made, tmp_path):
    server, _cloud = made
    tasks = f"""
    - cloudwright.cloud.zone: {{name: z, dns1: 192.0.2.1}}
    - cloudwright.cloud.zone: {{name: z, api_secret: "{{{{ word }}}}", api_key: k, api_url: "{server.url}"}}
      ignore_errors: true
    - cloudwright.cloud.host: {{name: h, zone: z, pod: none, cluster: c, hypervisor: KVM, password: "{{{{ other }}}}"}}
      ignore_errors: true
"""
    (tmp_path / "words.json").write_text(json.dumps({"word": SECRET, "other": "hunter2"}))
    done = play(server, tasks, "-vvvv", "-e", f"@{tmp_path}/words.json")
    assert done.code == 0, done.text
    assert "(401)" in done.text  # the options were used, not the file
    assert SECRET not in done.text and "hunter2" not in done.text


def test_people_by_a_play_whose_passwords_nobody_reads(made, tmp_path):
    server, cloud = made
    tasks = """
    - cloudwright.cloud.domain: {path: ROOT/department}
    - cloudwright.cloud.account: &person
        {name: web, domain: ROOT/department, password: "{{ word }}", first_name: A, last_name: B, email: a@b.test}
    - cloudwright.cloud.user: {<<: *person, name: bob, account: web}
    - cloudwright.cloud.user: {name: bob, domain: ROOT/department, password: "{{ new }}", update_password: "{{ when }}"}
    - cloudwright.cloud.tag: {resource_type: Account, resource: web, domain: ROOT/department, tags: {tier: 1}}
    - cloudwright.cloud.event_info: {limit: 1}
"""
    words = {"word": "hunter2-first", "new": "hunter2-new", "when": "on_create"}
    for when, changed in (("on_create", 4), ("on_create", 0), ("always", 1)):
        (tmp_path / "words.json").write_text(json.dumps({**words, "when": when}))
        done = play(server, tasks, "-vvvv", "--diff", "-e", f"@{tmp_path}/words.json")
        assert (done.code, done.recap("changed")) == (0, changed), done.text
        assert "hunter2" not in done.text
    assert [u["password"] for u in cloud.kinds["user"].values() if u["username"] == "bob"] == ["hunter2-new"]
    told = play(server, "    - cloudwright.cloud.tag: {resource_type: Moon, resource: web, tags: {}}\n")
    assert told.code != 0 and "value of resource_type must be one of: UserVm" in told.text


def test_certificates_are_verified_unless_told_otherwise(tmp_path):
    pem = tmp_path / "server.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*made, "-keyout", str(pem), "-out", f"{pem}.crt"], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (tmp_path / "server.pem.crt").read_text())
    with in_memory(tmp_path, pem) as (server, cloud):
        told = play(server, "    - cloudwright.cloud.zone_info: {api_retries: 0}\n")
        assert told.code != 0 and "certificate verify failed" in told.text, told.text
        assert cloud.calls == []
        assert play(server, "    - cloudwright.cloud.zone_info: {validate_certs: false}\n").code == 0
        assert cloud.calls == ["listZones"]


INVENTORY = """
plugin: cloudwright.cloud.vms
zone: lab
filters: {state: Running}
hostname: "{{ cloudwright_name }}.cloud"
keyed_groups:
  - {prefix: offering, key: cloudwright_serviceofferingname}
groups:
  big: cloudwright_memory | default(0) | int > 100
compose: {ansible_user: "'guest'"}
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: CACHE
"""


def inventory(server, file, *options):
    command = [f"{sys.prefix}/bin/ansible-inventory", "-i", str(file), "--list", *options]
    environment = {
        **os.environ,
        "CLOUDWRIGHT_API_CREDENTIALS_FILE": str(server.credentials),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ENABLED": "cloudwright.cloud.vms",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    return done, json.loads(done.stdout) if done.returncode == 0 else None


def test_inventory(made, tmp_path):
    server, cloud = made
    zone, other = cloud.add("zone", {"name": "lab"}), cloud.add("zone", {"name": "other"})
    nic = [{"networkid": "n", "ipaddress": "10.92.0.51"}]
    for name, place, state, memory in (
        ("a", zone, "Running", 512),
        ("b", zone, "Running", 64),
        ("c", zone, "Stopped", 64),
        ("d", other, "Running", 64),
    ):
        more = {"serviceofferingname": "tiny", "memory": memory, "nic": nic, "userdata": "c2VjcmV0"}
        cloud.add("virtualmachine", {"name": name, "zoneid": place["id"], "state": state, **more})
    file = tmp_path / "lab.cloudwright.yml"
    file.write_text(INVENTORY.replace("CACHE", str(tmp_path / "cache")))
    done, found = inventory(server, file)
    assert done.returncode == 0, done.stderr
    assert set(found["_meta"]["hostvars"]) == {"a.cloud", "b.cloud"}
    assert found["big"]["hosts"] == ["a.cloud"] and set(found["offering_tiny"]["hosts"]) == {"a.cloud", "b.cloud"}
    one = found["_meta"]["hostvars"]["a.cloud"]
    told = [v["__ansible_unsafe"] if isinstance(v, dict) else v for v in (one["ansible_host"], one["ansible_user"])]
    assert told == ["10.92.0.51", "guest"]  # ansible-inventory marks what came from outside
    assert "c2VjcmV0" not in done.stdout
    cloud.kinds["virtualmachine"].clear()
    asked = len(cloud.calls)
    assert set(inventory(server, file)[1]["_meta"]["hostvars"]) == {"a.cloud", "b.cloud"}
    assert len(cloud.calls) == asked  # from the cache
    assert inventory(server, file, "--flush-cache")[1]["_meta"].get("hostvars", {}) == {}


def test_inventory_says_what_is_wrong(made, tmp_path):
    server, _cloud = made
    file = tmp_path / "lab.cloudwright.yml"
    file.write_text("plugin: cloudwright.cloud.vms\nzone: nowhere\n")
    done, _found = inventory(server, file)
    assert done.returncode != 0 and "no zone named 'nowhere'" in done.stderr
