#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage high availability of hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_ha
short_description: Manage high availability of hosts
description:
  - Say whether a host that is lost is switched off, so that its machines start elsewhere.
  - A host needs a management controller for that, or storage that other hosts see too.
  - The controller is told by M(cloudwright.cloud.host_out_of_band).
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the host.
    type: str
  provider:
    description: What watches it, such as V(kvmhaprovider). Needed before it can be enabled.
    type: str
  state:
    description: Whether the host may be switched off when it is lost.
    type: str
    choices: [enabled, disabled]
    default: enabled
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
  - cloudwright.cloud.fields.place
"""

EXAMPLES = r"""
- name: Watch a host
  cloudwright.cloud.host_ha:
    name: kvm1
    zone: lab
    provider: kvmhaprovider
"""

RETURN = r"""
entity:
  description:
    - The high availability of the host, with the fields of the API, as it is now. In check mode, as it would be.
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

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Entity, State
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import PLACED

CONFIGURE = "configureHAForHost"
ENABLE = "enableHAForHost"
DISABLE = "disableHAForHost"
ENTITY = Entity(
    "host_ha",
    answers=False,
    address=dict.fromkeys((CONFIGURE, ENABLE, DISABLE), {"hostid": "id"}),
    states={
        "enabled": State(goal=("Enabled",), path={"*": [ENABLE]}),
        "disabled": State(goal=("Disabled",), path={"*": [DISABLE]}),
    },
    fields={
        "name": {"type": "str"},
        **PLACED,
        "provider": {"type": "str", "field": "haprovider", "via": CONFIGURE},
    },
)

if __name__ == "__main__":
    ENTITY.main()
