# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the server already has what a task asks for.  Private to this collection."""

from __future__ import annotations

UNKNOWN = object()  # what a field's ``read`` returns when the answer cannot tell; such a field is not compared


def scalar(value, number):
    """One scalar in the form in which two are compared: the API answers true as well as "true", 2 as well as "2.0"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if number:
        try:
            return float(value)
        except (TypeError, ValueError):
            return str(value)
    return str(value).lower() if str(value).lower() in ("true", "false") else str(value)


def alike(wanted, have):
    """Whether two scalars mean the same; only where the task gives a number do 2 and "2.0"."""
    number = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
    return scalar(wanted, number) == scalar(have, number)


def same(wanted, have):
    """Whether ``have``, from an answer, is what the task wants.

    Lists are compared without regard to order, and may come as comma separated text; of maps only the keys that the
    task gives count; a boolean that the server leaves out is false.
    """
    if have is UNKNOWN:
        return True
    if isinstance(wanted, dict):
        have = have or {}
        return all(key in have and same(value, have[key]) for key, value in wanted.items())
    if isinstance(wanted, list):
        items = [item for item in have.split(",") if item] if isinstance(have, str) else have or []
        if wanted and isinstance(wanted[0], dict):
            return len(wanted) == len(items) and all(any(same(w, h) for h in items) for w in wanted)
        return sorted(scalar(item, False) for item in wanted) == sorted(scalar(item, False) for item in items)
    if isinstance(have, list) and len(have) == 1:
        have = have[0]
    if wanted is False and have is None:
        return True
    return alike(wanted, have)
