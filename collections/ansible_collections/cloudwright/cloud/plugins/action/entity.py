# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs any module of this collection inside the worker: no Python to start for each task.

meta/runtime.yml routes the modules here.  Tasks with ``async``, or delegated to another machine than localhost, still
start the module itself.
"""

from __future__ import annotations

from importlib import import_module

from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible_collections.cloudwright.cloud.plugins.module_utils._client import ApiError, Client

HERE = (None, "", "localhost", "127.0.0.1", "::1")


class ActionModule(ActionBase):
    """One for all."""

    _requires_connection = False
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        """Do what the module would do."""
        result = super().run(tmp, task_vars)
        if self._task.async_val or self._task.delegate_to not in HERE:
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)}
        name = self._task.action.rpartition(".")[2]
        entity = import_module(f"ansible_collections.cloudwright.cloud.plugins.modules.{name}").ENTITY
        checked, params = self.validate_argument_spec(entity.argument_spec, **entity.constraints)
        secrets = set(checked._no_log_values)
        try:
            client = Client(params, read_only=self._task.check_mode)
            secrets.add(client.secret)
            answer = entity.converge(client, params, self._task.check_mode)
        except ApiError as exc:
            answer = exc.result()
        return {**result, **remove_values(answer, secrets)}
