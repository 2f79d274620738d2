"""Types of events: those of the protocol, but for what does not exist here, and no others."""

import ast
import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import mgmt_server
from mgmt_server.resources.event.types import BESIDES, types
from tests.cloud import Cloud
from tests.contract.test_registry import ALL

KNOWN = set(json.loads((Path(__file__).parent / "events.json").read_text()))
USAGE = "it is counted for usage alone, and in no list"
ABSENT = {  # types that are not told here, by patterns, and why
    "there are no groups of machines that scale by themselves": ("AUTOSCALE*", "CONDITION.*", "COUNTER.*"),
    "there are no backups": ("BACKUP.*", "VM.CREATE.FROM.BACKUP"),
    "routes are told to nobody by BGP": ("AS.*", "BGP.*", "*.BGP.PEER.UPDATE"),
    "there are no bare metal hosts": ("BAREMETAL.*", "UCS.*", "PHYSICAL.DHCP.*", "PHYSICAL.PXE.*"),
    "there are no buckets": ("BUCKET.*", "OBJECT.STORE.*"),
    "machines are not spread anew by themselves": ("CLUSTER.DRS*",),
    "there are no extensions": ("EXTENSION.*", "CUSTOM.ACTION"),
    "there are no Kubernetes clusters": ("KUBERNETES.*", "*.CNI.CONFIG"),
    "there are no icons and themes": ("*.RESOURCE.ICON", "GUI.THEME.*"),
    "there are no GPUs": ("GPU.*", "VGPU.*"),
    "there are no shared file systems": ("SHAREDFS.*",),
    "there is no quota and no usage server": ("QUOTA.*", "USAGE.*", "PURGE.EXPUNGED.RESOURCES"),
    "there are no VPCs": ("VPC.*", "PRIVATE.GATEWAY.*", "STATIC.ROUTE.*", "NETWORK.ACL.*"),
    "there are no VPNs": ("VPN.*",),
    "networks have no rules of firewalls and load balancers": (
        *("FIREWALL.*", "ROUTING.*", "LB.*", "GLOBAL.LB.*", "NET.RULE*", "STATICNAT.*"),
        *("NETSCALER*", "INTERNALLBVM.*", "IPV6.FIREWALL.*"),
    ),
    "there are no security groups": ("SG.*",),
    "addresses are neither kept nor moved by hand": ("PORTABLE.*", "NET.IPRELEASE", "NET.IPRESERVE", "NET.IPUPDATE"),
    "subnets and prefixes are not given out": ("IP4.*", "ZONE.IP4.*", "GUEST.IP6.*", "NET.IP6*"),
    "devices of other makers are not driven": ("TUNGSTEN.*", "PHYSICAL.[BFLOV]*", "PHYSICAL.NCC.*",
                                               "PHYSICAL.NVP*", "SWITCH.MGMT.*", "EXTERNAL.DHCP.*"),
    "networks do not migrate": ("NETWORK.MIGRATE",),
    "guest OS types are those of the release": ("GUEST.OS.ADD", "GUEST.OS.UPDATE", "GUEST.OS.REMOVE",
                                                "GUEST.OS.MAPPING.*", "GUEST.OS.HYPERVISOR.*"),
    "there is no vCenter": ("IMPORT.VCENTER.*",),
    "there are no consoles": ("VNC.*", "UPLOAD.CUSTOM.CERTIFICATE"),
    "servers stop and go on without a command": ("MS.*",),
    "system VMs are made by their zone, without a command": ("PROXY.CREATE", "PROXY.HA", "SSVM.CREATE", "SSVM.HA"),
    "no command is about routers": ("ROUTER.*",),
    "nothing is diagnosed or patched inside of system VMs": ("*.DIAGNOSTICS", "LIVE.PATCH.SYSTEM.VM"),
    "hosts reach all pools of their place": ("CONFIGURE.STORAGE.ACCESS",),
    "the server has no reservations to clean": ("VM.RESERVATION.CLEANUP",),
    USAGE: (*("SNAPSHOT.*_PRIMARY", "VMSNAPSHOT.*_PRIMARY", "NETWORK.OFFERING.ASSIGN", "NETWORK.OFFERING.REMOVE"),
            "VM.DYNAMIC.SCALE"),
    "updateVMAffinityGroup is told as VM.AFFINITY.GROUP.UPDATE": ("AG.ASSIGN", "AG.REMOVE"),
    "configureHAForHost is told as HA.RESOURCE.DISABLE, as the protocol says": ("HA.RESOURCE.CONFIGURE",),
    "copyIso is told as TEMPLATE.COPY, as the protocol says": ("ISO.COPY",),
    "addIpToNic is told as NIC.SECONDARY.IP.ASSIGN": ("NIC.SECONDARY.IP.CONFIGURE",),
    "details are told as CREATE_RESOURCE_DETAILS and DELETE_RESOURCE_DETAILS": ("NIC.DETAIL.*", "VOLUME.DETAIL.*"),
    "images that move are told as IMAGE.STORE.MIGRATE": ("FILE.MIGRATE", "MIGRATE.PREPARE.SS"),
    "extracted files are fetched, and sent nowhere": ("TEMPLATE.UPLOAD", "ISO.UPLOAD"),
    "whose job needed the image hears why a host did not get it": ("*.DIRECT.DOWNLOAD.FAILURE",),
    "images that nobody uses leave pools without a word": ("TEMPLATE.CLEANUP",),
    "rolling maintenance of no place is refused": ("SYSTEM.ROLLING.MAINTENANCE",),
}  # fmt: skip
PATTERNS = [pattern for patterns in ABSENT.values() for pattern in patterns]


def texts():
    """Every text in the code of the server, but for the list of types itself."""
    root = Path(mgmt_server.__file__).parent
    for path in root.rglob("*.py"):
        if path != root / "resources" / "event" / "types.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_all_types_are_told_but_those_of_what_does_not_exist():
    left = {name for name in KNOWN - set(types()) if not any(fnmatchcase(name, p) for p in PATTERNS)}
    assert not left, f"have them told, or say in ABSENT why they are not: {sorted(left)}"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_absent_is(pattern):
    named = {name for name in KNOWN if fnmatchcase(name, pattern)}
    assert named and not named & set(types()), f"take what is told out of ABSENT: {named & set(types())}"


def test_no_type_is_our_own():
    assert set(types()) <= KNOWN


def test_what_the_code_names_is_listed():
    """Types that are put together of pieces are seen by tests/api, and along the walk of test_changes.py."""
    assert KNOWN & set(texts()) <= set(types())
    assert not set(BESIDES) & {c.event for c in ALL.values()}, "a command is declared with it: it is listed by that"


def test_the_list_of_types(database):
    Cloud().account("ann")
    told = Cloud().ask("listEventTypes", user="ann")
    assert told["count"] == len(types()) and [t["name"] for t in told["eventtype"]] == types()
