#!/usr/bin/python
# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage secondary storage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_store
short_description: Manage secondary storage
description:
  - Create, change and delete image stores, which hold templates, ISO images and snapshots.
version_added: 0.1.0
author: Cloudwright Project (@cloudwright)
options:
  name:
    description: Name of the image store.
    type: str
  zone:
    description: Name or id of the zone. Providers like S3 serve all zones.
    type: str
  url:
    description:
      - Where the storage is, such as V(nfs://server/path).
      - Needed to create a new one.
      - Cannot change after creation.
    type: str
  provider:
    description:
      - Storage provider. A new store is V(NFS).
      - Cannot change after creation.
    type: str
  read_only:
    description: Whether nothing new is placed on the store.
    type: bool
  details:
    description: Details for the provider. Only sent at creation.
    type: dict
  state:
    description: Whether the image store exists.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cloudwright.cloud.api
  - cloudwright.cloud.api.wait
  - cloudwright.cloud.api.id
"""

EXAMPLES = r"""
- name: Have secondary storage
  cloudwright.cloud.image_store:
    name: secondary
    zone: lab
    url: nfs://10.91.0.13/srv/export/secondary
"""

RETURN = r"""
entity:
  description:
    - The image store with the fields of the API, as it is now. In check mode, as it would be.
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

ENTITY = Entity(
    "image_store",
    create="addImageStore",
    update="updateImageStore",
    delete="deleteImageStore",
    fields={
        "name": {"type": "str"},
        "zone": {"type": "str", "ref": "zone", "find": True, "update": False},
        "url": {"type": "str", "needed": True, "update": False},
        "provider": {"type": "str", "field": "providername", "initial": "NFS", "update": False},
        "read_only": {"type": "bool", "create": False},
        "details": {"type": "dict", "shown": False},
    },
)

if __name__ == "__main__":
    ENTITY.main()
