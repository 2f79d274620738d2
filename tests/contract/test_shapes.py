"""Answers beside those that were recorded from the original: the same names, and values of the same kinds.

shapes.json has, for each command (and, as `job COMMAND`, for what its job answered), the fields that recorded answers
had: their kind, with `?` where some had none, and for objects what is in them.
"""

import json
from pathlib import Path

import pytest

from tests.contract.test_answers import READS, told  # noqa: F401

SHAPES = json.loads((Path(__file__).parent / "shapes.json").read_text())
KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "object"}
JAVA = "there is no Java"
MTU = "routers have no MTU of their own in this version"
SHARED = "there are no shared file systems"
# what recorded answers always had and ours do not, or not in these small clouds
MISSING = {
    "jobid": "in a job's answer the original says that the job is still under way",
    "jobstatus": "the same",
    "capacityiops": "no simulated pool has a limit",
    "usediops": "the same",
    "javadistribution": JAVA,
    "javaversion": JAVA,
    "threadsblockedcount": JAVA,
    "threadsrunnablecount": JAVA,
    "threadsteminatedcount": JAVA,
    "threadswaitingcount": JAVA,
    "privatemtu": MTU,
    "publicmtu": MTU,
    "sharedfsvmmincpucount": SHARED,
    "sharedfsvmminramsize": SHARED,
    "usageislocal": "there is no usage server",
    "loginfo": "logs are not told by the API",
    "activeviewersessions": "there are no consoles in this version",
    "dbloadaverages": "SQLite is this process",
    "uptime": "the same",
    "lastserverstop": "none has stopped",
    "listAsyncJobs.asyncjobs.managementserverid": "the jobs that wait are nobody's",
    "listAsyncJobs.asyncjobs.managementservername": "the same",
    "listDomainChildren.domain.networkdomain": "the domain has none",
    "getUser.user.email": "the administrator has none",
    "getUserKeys.userkeys.secretkey": "it is told once, when it is made",
    "scriptsversion": "a router's software has one version",
    "createVlanIpRange.vlan.networkid": "the network of public addresses is made with the zone's first router",
    "job dedicateHost.null": "the original has no name for it",
    "job updateSnapshotPolicy.snapshotpolicy.zone.tags": "zones have no tags",
    "prepareTemplate.template.checksum": "the built-in template has none",
    "prepareTemplate.template.url": "the same",
    "updateIso.iso.isready": "it depends on the zone, and is always false in the original",
    "updateTemplate.template.isready": "it depends on the zone, and is always false in the original",
}


def differences(shape, rows, where):
    """What differs between a recorded shape and the objects of one place: fields that none has, other kinds."""
    found = []
    for name, recorded in shape.items():
        wanted, inner = recorded if isinstance(recorded, list) else (recorded, None)
        here = f"{where}.{name}"
        values = [row[name] for row in rows if name in row]
        if not values:
            if rows and not wanted.endswith("?") and name not in MISSING and here not in MISSING:
                found.append(f"{here} is told by none")
            continue
        other = {KINDS[type(v)] for v in values} - set(wanted.rstrip("?").split("|"))
        if other:
            found.append(f"{here} is {', '.join(sorted(other))}, and was {wanted}")
        elif inner and name != "details":  # which hold what each caller likes
            objects = [one for v in values for one in (v if isinstance(v, list) else [v]) if isinstance(one, dict)]
            found += differences(inner, objects, here)
    return found


@pytest.mark.parametrize("name", [n for n in READS if n in SHAPES and n != "listInternalLoadBalancerElements"])
def test_a_read_has_the_fields_that_were_recorded(told, name):  # noqa: F811
    assert differences(SHAPES[name], [told[name][0]], name) == []
