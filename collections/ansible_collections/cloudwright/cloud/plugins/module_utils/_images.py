# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What templates and ISOs have in common.  Private to this collection."""

from __future__ import annotations


def broken(image):
    """Why a download will never end, or None."""
    for found in image.get("downloaddetails", []):
        if found.get("downloadState") in ("DOWNLOAD_ERROR", "ABANDONED", "UNKNOWN"):
            return f"the download failed: {image.get('status') or found['downloadState']}"
    return None
