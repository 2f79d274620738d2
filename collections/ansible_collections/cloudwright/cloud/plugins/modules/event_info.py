#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List events."""

from __future__ import annotations

DOCUMENTATION = r"""
module: event_info
short_description: List events
description:
  - List what happened, the latest first.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  id:
    description: Return only what has this id.
    type: str
  type:
    description: Return only events of this type, such as V(VM.CREATE).
    type: str
  level:
    description: Return only events of this level.
    type: str
    choices: [INFO, WARN, ERROR]
  event_state:
    description: Return only events in this state.
    type: str
    choices: [Created, Scheduled, Started, Completed]
  start_id:
    description: Id of the first event of some work. Return it and what followed.
    type: str
  start_date:
    description: Return only events from this time on, such as V(2030-12-31) or V(2030-12-31 23:59:59).
    type: str
  end_date:
    description: Return only events until this time.
    type: str
  resource_type:
    description: Return only events about entities of this kind, such as V(VirtualMachine).
    type: str
  resource_id:
    description: Return only events about the entity with this id.
    type: str
  keyword:
    description: Return only events with this word in their description or type.
    type: str
  archived:
    description: Whether to return archived events, too.
    type: bool
    default: false
  domain:
    description: Name, path (as C(ROOT/department)) or id of the domain.
    type: str
  account:
    description: Name of the account that the events belong to. Needs O(domain).
    type: str
  project:
    description: Name or id of the project that the events belong to.
    type: str
  list_all:
    description: Whether to return events of other accounts, too, as far as they may be seen.
    type: bool
    default: false
  limit:
    description: How many events to return at most.
    type: int
    default: 500
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.listed
"""

EXAMPLES = r"""
- name: Read the last ten failures
  cloudwright.cloud.event_info:
    level: ERROR
    list_all: true
    limit: 10
  register: found
"""

RETURN = r"""
entities:
  description: What was found, with the fields of the API.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.cloudwright.cloud.plugins.module_utils._entity import EntityInfo
from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import LISTED

ENTITY = EntityInfo(
    "event",
    by=("id",),
    filters={
        "type": {"type": "str"},
        "level": {"type": "str", "choices": ["INFO", "WARN", "ERROR"]},
        "event_state": {
            "type": "str",
            "choices": ["Created", "Scheduled", "Started", "Completed"],
            "api": "state",
        },
        "start_id": {"type": "str"},
        "start_date": {"type": "str"},
        "end_date": {"type": "str"},
        "resource_type": {"type": "str"},
        "resource_id": {"type": "str"},
        "keyword": {"type": "str", "no_log": False},
        "archived": {"type": "bool", "default": False},
        **LISTED,
        "limit": {"type": "int", "default": 500, "use": "limit"},
    },
)

if __name__ == "__main__":
    ENTITY.main()
