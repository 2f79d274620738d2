#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage policies of snapshots."""

from __future__ import annotations

DOCUMENTATION = r"""
module: snapshot_policy
short_description: Manage policies of snapshots
description:
  - Have snapshots of a disk taken again and again. A disk has at most one policy of each interval.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  interval_type:
    description: How often snapshots are taken.
    type: str
    choices: [HOURLY, DAILY, WEEKLY, MONTHLY]
    required: true
  schedule:
    description:
      - When, as C(MM), C(MM:HH), or C(MM:HH:DD) with the day of the week (1 is Sunday) or of the month.
      - Needed to create a new one.
    type: str
  timezone:
    description: Where the clock of O(schedule) is, such as V(Europe/Zurich). A new one gets V(UTC).
    type: str
  max_snaps:
    description:
      - How many snapshots to keep. The oldest beyond are deleted.
      - Needed to create a new one.
    type: int
  zones:
    description: Names or ids of the zones to copy the snapshots to, beside that of the disk. Only sent at creation.
    type: list
    elements: str
  display:
    description: Whether users see it.
    type: bool
  zone:
    description: Name or id of the zone in which the disk and its machine are looked for.
    type: str
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain in which the disk is looked for.
    type: str
  account:
    description: Name of the account that owns the disk. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that owns the disk.
    type: str
  state:
    description: Whether the policy exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.fields.disk
"""

EXAMPLES = r"""
- name: Keep a disk as it is every night
  cloudwright.cloud.snapshot_policy:
    volume: web1-data
    interval_type: DAILY
    schedule: "30:02"
    timezone: Europe/Zurich
    max_snaps: 7
"""

RETURN = r"""
entity:
  description:
    - The policy with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OF_DISK, OWNER_OF_REFERENCES

INTERVALS = ["HOURLY", "DAILY", "WEEKLY", "MONTHLY"]
AGAIN = "createSnapshotPolicy"


def interval(policy):
    """The interval by its name; answers have its number."""
    return INTERVALS[int(policy["intervaltype"])]


def zones(policy):
    """The ids of the zones that get the snapshots."""
    return [zone["id"] for zone in policy.get("zone", ())]


ENTITY = Entity(
    "snapshot_policy",
    create=AGAIN,
    update=AGAIN,  # a policy of the same interval takes the place of the one before
    delete="deleteSnapshotPolicies",
    key=None,
    needs={"mutually_exclusive": [("volume", "vm")], "required_one_of": [("volume", "vm")]},
    address={
        AGAIN: {
            "volumeid": "volumeid",
            "intervaltype": interval,
            "schedule": "schedule",
            "timezone": "timezone",
            "maxsnaps": "maxsnaps",
            "fordisplay": "fordisplay",
            "zoneids": zones,
        }
    },
    fields={
        **OF_DISK,
        "interval_type": {"type": "str", "choices": INTERVALS, "required": True, "match": True, "read": interval},
        "schedule": {"type": "str", "needed": True},
        "timezone": {"type": "str", "initial": "UTC"},
        "max_snaps": {"type": "int", "needed": True},
        "zones": {"type": "list", "elements": "str", "ref": "zone", "shown": False},
        "display": {"type": "bool", "api": "fordisplay"},
        "zone": {"type": "str", "ref": "zone", "use": "scope"},
        **OWNER_OF_REFERENCES,
    },
)

if __name__ == "__main__":
    ENTITY.main()
