# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that every module shares."""

from __future__ import annotations


class ModuleDocFragment:
    """What each module gets from Runnable and Entity."""

    DOCUMENTATION = r"""
options:
  api_url:
    description:
      - Address of the management server, with or without C(/client/api).
      - If neither it nor O(api_credentials_file) is given, the environment variable E(CLOUDWRIGHT_API_URL) is used.
    type: str
  api_key:
    description:
      - API key of the user on whose behalf the task runs.
      - If neither it nor O(api_credentials_file) is given, the environment variable E(CLOUDWRIGHT_API_KEY) is used.
    type: str
  api_secret:
    description:
      - Secret that belongs to O(api_key).
      - If neither it nor O(api_credentials_file) is given, the environment variable E(CLOUDWRIGHT_API_SECRET) is used.
    type: str
  api_credentials_file:
    description:
      - JSON file with C(api_url), C(api_key) and C(api_secret), as the management server's setup writes it.
      - It is read where the task runs. This is the controller, unless the task is delegated to another machine.
      - Options win over it, and it wins over the environment.
      - E(CLOUDWRIGHT_API_CREDENTIALS_FILE) names one for what neither options nor the other variables give.
    type: path
  api_timeout:
    description: Seconds to wait for one answer.
    type: int
    default: 60
  api_retries:
    description:
      - How often a call that only reads is tried again when the server is busy, unavailable or out of reach.
      - A call that changes something is never sent twice.
    type: int
    default: 5
  validate_certs:
    description: Whether to verify the certificate of the management server.
    type: bool
    default: true
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: full
  action_group:
    description: Use C(group/cloudwright.cloud.cloud) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - cloudwright.cloud.cloud
"""

    WAIT = r"""
options:
  wait:
    description:
      - Whether to wait until the server's job has ended and the entity is as asked for.
      - Otherwise the task ends as soon as its last job has started, and returns the job's id.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for each job. A job that takes longer fails the task but goes on at the server.
    type: int
    default: 300
"""

    ID = r"""
options:
  id:
    description:
      - Id of an entity that exists.
      - With it, a name that differs is a new name.
    type: str
"""

    INFO = r"""
options:
  name:
    description: Return only what has exactly this name.
    type: str
  id:
    description: Return only what has this id.
    type: str
  wait:
    description: Accepted, so that C(module_defaults) of the whole group may hold it. Nothing is waited for.
    type: bool
    default: true
  wait_timeout:
    description: Accepted, as O(wait) is.
    type: int
    default: 300
attributes:
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
"""

    NAMED = r"""
options:
  name:
    description: Return only what has exactly this name.
    type: str
"""

    LISTED = r"""
options:
  wait:
    description: Accepted, so that C(module_defaults) of the whole group may hold it. Nothing is waited for.
    type: bool
    default: true
  wait_timeout:
    description: Accepted, as O(wait) is.
    type: int
    default: 300
attributes:
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
"""

    NO_JOB = r"""
options:
  wait:
    description: Accepted, so that C(module_defaults) of the whole group may hold it. Nothing is waited for.
    type: bool
    default: true
  wait_timeout:
    description: Accepted, as O(wait) is.
    type: int
    default: 300
"""
