"""Published faults of CloudStack around images and what hosts are told, by number: see test_cve_classes.py."""

from __future__ import annotations

import ast
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import update

from mgmt_server.agent import images
from mgmt_server.db import write
from mgmt_server.drivers.image.inspect import inspect
from mgmt_server.errors import Failed, InvalidValue
from mgmt_server.model.vm import Vm
from mgmt_server.protocol.download import Limits, fetch
from tests.access.world import nothing_kept
from tests.security.source import called, calls, modules, own


@pytest.fixture
def redirecting():
    where = {"to": ""}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", where["to"])
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where["url"] = f"http://127.0.0.1:{server.server_address[1]}/"
    yield where
    server.shutdown()


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest/", "http://10.0.0.1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/", "http://[2002:a00:1::]/", "http://0/", "http://0x0a000001/", "http://167772161/",
        "file:///etc/passwd", "gopher://x/", "http://a:b@198.51.100.1/",
    ],
)  # fmt: skip
def test_cve_2024_29007_a_redirect_does_not_lead_inside(redirecting, tmp_path, to):
    redirecting["to"] = to
    with pytest.raises(InvalidValue):
        fetch(redirecting["url"], tmp_path / "f", Limits(allowed=("127.0.0.1/32",)))


def qcow2(path, *options):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "8M"], check=True)
    return path


def test_cve_2024_45219_images_that_point_at_files_of_the_host(tmp_path):
    (tmp_path / "secret").write_bytes(b"x" * 4096)
    for options in (
        ("-u", "-b", "/etc/passwd", "-F", "raw"),
        ("-b", str(tmp_path / "secret"), "-F", "raw"),
        ("-o", f"data_file={tmp_path}/data,data_file_raw=on"),
    ):
        with pytest.raises(Failed, match="could make a host read other files"):
            inspect(qcow2(tmp_path / "evil", *options), "QCOW2")
    with pytest.raises(Failed):
        inspect(qcow2(tmp_path / "evil", "-u", "-b", "/etc/passwd", "-F", "raw"), "RAW")


def test_cve_2024_50386_the_host_looks_at_images_itself(tmp_path):
    for options in (("-u", "-b", "/etc/passwd", "-F", "raw"), ("-o", f"data_file={tmp_path}/d,data_file_raw=on")):
        for claimed in ("QCOW2", "RAW"):
            with pytest.raises(Exception, match="(?i)file|content|format|raw"):
                images.inspect(str(qcow2(tmp_path / "evil", *options)), claimed)


def test_cve_2024_29008_no_configuration_of_the_hypervisor_that_operators_did_not_allow(world):
    machine = own(world, Vm, "ann")
    device = {"extraconfig": "%3Chostdev%20mode%3D%27subsystem%27%20type%3D%27pci%27%2F%3E"}
    base = {"command": "updateVirtualMachine", "id": machine.uuid}
    enable = {"command": "updateConfiguration", "name": "enable.additional.vm.configuration"}
    write(lambda tx: tx.execute(update(Vm).where(Vm.id == machine.id).values(state="Stopped")))
    try:
        with nothing_kept():
            got = world.ask("ann", base | device)
            assert got.status == 431 and "enable.additional.vm.configuration" in got.text, "off until it is asked for"
            got = world.ask("ann", base | {"details[0].extraconfig-1": "<hostdev/>"})
            assert got.status == 431 and "extraconfig" in got.text, "and not by way of the details"
        world.ask("admin", enable | {"value": "true"})
        with nothing_kept():
            got = world.ask("ann", base | device)
            assert got.status == 431 and "hostdev is not in the list of what is allowed" in got.text
    finally:
        world.ask("admin", enable | {"value": "false"})
        write(lambda tx: tx.execute(update(Vm).where(Vm.id == machine.id).values(state=machine.state)))


def test_cve_2026_25077_names_never_reach_a_shell():
    wrong = []
    for path, tree in modules().items():
        for node in calls(tree):
            name = called(node)
            shell = any(k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords)
            first = node.args[0] if node.args else None
            text = name.startswith("subprocess.") and isinstance(first, ast.Constant | ast.JoinedStr)
            if shell or text or name in ("os.system", "os.popen", "subprocess.getoutput", "create_subprocess_shell"):
                wrong.append(f"{path.name}:{node.lineno} {name}")
            if name in ("run", "subprocess.run") and isinstance(first, ast.List):
                words = [e.value for e in first.elts[:2] if isinstance(e, ast.Constant)]
                if words and words[0] in ("sh", "bash", "/bin/sh", "/bin/bash") and "-c" in words:
                    wrong.append(f"{path.name}:{node.lineno} {words}")
    assert not wrong, wrong


def test_cve_2025_59302_no_interpreter_evaluates_rules():
    wrong = []
    for path, tree in modules().items():
        if "migrations" in path.parts:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in ("eval", "exec", "compile", "__import__", "pickle.loads"):
                wrong.append(f"{path.name}:{node.lineno} {called(node)}")
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {getattr(node, "module", "") or "", *(a.name for a in node.names)}
                wrong += [f"{path.name} imports {n}" for n in names & {"js2py", "dukpy", "quickjs", "lupa", "pickle"}]
    assert not wrong, wrong
