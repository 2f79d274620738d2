#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dedicate ranges of guest VLANs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_vlan_range
short_description: Dedicate ranges of guest VLANs
description:
  - Keep VLANs of a physical network for the guest networks of one account or project, and release them.
  - A range is known by its physical network and its VLANs.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  vlan_range:
    description:
      - The VLANs, first and last, as V(100-109), or a single one, as V(100). They have to be among those of the
        physical network.
      - One range. Several need a task each.
      - VLANs that are part of a wider range of the same account are kept for it already, so nothing is changed.
        A range that has some of the VLANs otherwise is an error that names it.
    type: str
    required: true
  physical_network:
    description: Name or id of the physical network, looked for in O(zone).
    type: str
    required: true
  zone:
    description: Name or id of the zone that O(physical_network) is looked for in.
    type: str
  domain:
    description:
      - Name, path (as C(ROOT/department)) or id of the domain of O(account) or O(project).
      - Cannot change after creation.
    type: str
  account:
    description:
      - Name of the account that the VLANs are for. Needs O(domain).
      - It or O(project) is needed to create a new one. Cannot change after creation.
    type: str
  project:
    description:
      - Name or id of the project that the VLANs are for, looked for in O(domain).
      - Cannot change after creation.
    type: str
  state:
    description:
      - Whether the VLANs are dedicated. With V(absent) the range is released, whoever it was for. Networks that have
        one of the VLANs keep it.
      - A range is released as a whole. V(absent) for a part of one, or for more than one, is an error that names it.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
"""

EXAMPLES = r"""
- name: Keep ten VLANs for an account
  cloudwright.cloud.guest_vlan_range:
    zone: lab
    physical_network: net
    vlan_range: 100-109
    domain: ROOT/department
    account: web

- name: Let everybody's networks use them again
  cloudwright.cloud.guest_vlan_range:
    zone: lab
    physical_network: net
    vlan_range: 100-109
    state: absent
"""

RETURN = r"""
entity:
  description:
    - The range with the fields of the API, as it is now. In check mode, as it would be.
    - None when there is none any more.
  returned: success
  type: dict
job_id:
  description: Id of the last job that the server started for the task.
  returned: when there was one
  type: str
duration:
  description: Seconds that the task took.
  returned: when there was a job
  type: float
"""

import re

from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError
from ansible_collections.cloudwright.cloud.plugins.module_utils._compare import same
from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._kinds import list_entities


def ends(text):
    """The first and the last VLAN of a range, or None where the text is no range."""
    found = re.fullmatch(r"\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    return (first, last) if first <= last else None


def check(options):
    """Refuse what is no single range: none is known by it, so it would seem to be absent."""
    text = options["vlan_range"]
    if ends(text) is None:
        raise ApiError(f"vlan_range {text!r} is not one range of VLANs: write it as 100-109, and have a task for each")


def spoken(text):
    """A range as answers show it: a single VLAN has two ends there, too."""
    first, last = ends(text)
    return f"{first}-{last}"


def kept_with_others(run):
    """The wider range of the same owner that has the VLANs, so that they are kept as asked for.

    Anything else that has some of them is in the way: said here, for check mode and for a release, too.
    """
    first, last = ends(run.wanted("vlan_range"))
    listed = list_entities(run.client, run.entity.kind, **run.scope())
    spans = [(*ends(one["guestvlanrange"]), one) for one in listed]
    met = [(low, high, one) for low, high, one in spans if low <= last and first <= high]
    if not met:
        return None
    low, high, one = met[0]
    if not run.rule.gone and low <= first and last <= high and asked_for(run, one):
        return one
    taken = " and ".join(f"{low}-{high} are dedicated to {holder(one)}" for low, high, one in met)
    advice = "release these first, or leave them out"
    if run.rule.gone:
        advice = "a range is released as a whole: name it as it is"
    raise ApiError(f"guest VLANs {first}-{last}: {taken}; {advice}")


def asked_for(run, entity):
    """Whether a range is of whom the task names, as far as it names anybody."""
    asked = {name: run.wanted(name) for name in ("domain", "account", "project")}
    return all(value is None or same(value, run.entity.have(name, entity)) for name, value in asked.items())


def holder(entity):
    """Whose a range is."""
    return f"project {entity['project']}" if entity.get("project") else f"account {entity.get('account')}"


ENTITY = Entity(
    "guest_vlan_range",
    create="dedicateGuestVlanRange",
    delete="releaseDedicatedGuestVlanRange",
    key=None,
    check=check,
    elsewhere=kept_with_others,
    aside=lambda run: ("vlan_range",),  # found by it, or in a wider one that is as good
    needs={"mutually_exclusive": [("account", "project")], "required_by": {"account": ["domain"]}},
    fields={
        "vlan_range": {
            "type": "str",
            "required": True,
            "field": "guestvlanrange",
            "encode": spoken,
            "match": True,
            "update": False,
        },
        "zone": {"type": "str", "ref": "zone", "use": "scope", "shown": False},  # answers have numbers of their own
        "physical_network": {
            "type": "str",
            "required": True,
            "ref": "physical_network",
            "within": ("zone",),
            "find": True,
            "shown": False,
        },
        "domain": {"type": "str", "ref": "domain", "update": False},
        "account": {"type": "str", "needed": lambda options: not options.get("project"), "update": False},
        "project": {"type": "str", "ref": "project", "within": ("domain",), "update": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
