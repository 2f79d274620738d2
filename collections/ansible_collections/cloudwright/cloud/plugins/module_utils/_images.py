# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What templates and ISOs have in common.  Private to this collection."""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.plugins.module_utils._fields import OWNED


def broken(image):
    """Why a download will never end, or None."""
    for found in image.get("downloaddetails", []):
        if found.get("downloadState") in ("DOWNLOAD_ERROR", "ABANDONED", "UNKNOWN"):
            return f"the download failed: {image.get('status') or found['downloadState']}"
    return None


def fields(permissions):
    """What both are told, with the command that changes who may use them."""
    return {
        "name": {"type": "str"},
        "display_text": {"type": "str", "initial": lambda params: params["name"]},
        "zone": {"type": "str", "ref": "zone", "find": True, "needed": True, "update": False},
        "path": {"type": "path", "use": "task"},
        "os_type": {"type": "str", "ref": "os_type"},
        "is_public": {"type": "bool", "via": permissions},
        "is_featured": {"type": "bool", "via": permissions},
        "is_extractable": {"type": "bool", "via": permissions},
        "is_dynamically_scalable": {"type": "bool"},
        "password_enabled": {"type": "bool"},
        "arch": {"type": "str", "choices": ["x86_64", "aarch64"]},
        "checksum": {"type": "str", "shown": False},
        "direct_download": {"type": "bool", "update": False},
        **OWNED,
    }
