#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List dedicated zones, pods, clusters and hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dedication_info
short_description: List dedicated zones, pods, clusters and hosts
description:
  - List what is kept for a domain or an account, or find one by the name of what is dedicated.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  resource_type:
    description: What is dedicated.
    type: str
    required: true
    choices: [zone, pod, cluster, host]
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain that it is for.
    type: str
  account:
    description: Name of the account that it is for. Needs O(domain).
    type: str
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
  - cloudwright.cloud.api.named
"""

EXAMPLES = r"""
- name: Read the dedicated hosts
  cloudwright.cloud.dedication_info:
    resource_type: host
  register: found
"""

RETURN = r"""
entities:
  description: What was found, with the fields of the API.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import Choice, EntityInfo

KINDS = ("zone", "pod", "cluster", "host")


def dedicated(kind):
    """The list of one kind."""
    return EntityInfo(
        f"dedicated_{kind}",
        by=("name",),
        filters={
            "resource_type": {"type": "str", "required": True, "choices": list(KINDS), "use": "task"},
            "domain": {"type": "str", "ref": "domain"},
            "account": {"type": "str"},
        },
    )


ENTITY = Choice("resource_type", {kind: dedicated(kind) for kind in KINDS})

if __name__ == "__main__":
    ENTITY.main()
