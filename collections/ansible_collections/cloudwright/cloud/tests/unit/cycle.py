# Copyright (c) Cloudwright Project
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt or https://spdx.org/licenses/GPL-3.0-or-later.html)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle: every change of every module is run as check, do, check again, do again.  Nothing here knows a server."""

from __future__ import annotations

from ansible_collections.cloudwright.cloud.tests.unit.samples import SAMPLES


def cycle(run, module, **options):
    """One change; returns the results of the check and of the doing."""
    results = []
    for check in (True, False, True, False):
        result = run(module, check=check, **options)
        assert not result.get("failed") and "msg" not in result, (module, options, check, result)
        results.append(result)
    assert [result["changed"] for result in results] == [True, True, False, False], (module, options, results)
    said, done = results[0]["diff"], results[1]["diff"]
    assert said["before"] == done["before"], (module, said, done)
    assert said["after"] == done["after"], (module, said, done)
    assert "diff" not in results[2] and "diff" not in results[3]
    return results[0], results[1]


def life(run, module):
    """Create, change, every state, rename, what cannot change, and the end."""
    sample = SAMPLES[module]
    options = dict(sample["create"])
    made = cycle(run, module, **options)[1]
    if "entity" in made:
        assert made["diff"]["before"] == {} or sample.get("exists"), made
    if sample.get("update"):
        change = sample["update"]
        options.update(change)
        done = cycle(run, module, **options)[1]
        assert set(done["diff"]["after"]) == set(change), done["diff"]
        assert done["diff"]["before"] != done["diff"]["after"]
    for state in sample.get("states", ()):
        options["state"] = state
        done = cycle(run, module, **options)[1]
        assert len(done["diff"]["before"]) >= 1
        if state not in ("destroyed", "absent"):
            options.pop("state")
    for name, value in sample.get("fixed", {}).items():
        result = run(module, **{**options, name: value, "state": None})
        assert "cannot change after creation" in result.get("msg", ""), (module, name, result)
        assert name in result["msg"]
    if sample.get("rename"):
        ident = run(module, **options)["entity"]["id"]
        new = {"name": "renamed"} if sample["rename"] is True else sample["rename"]
        done = cycle(run, module, **{**options, "id": ident, **new})[1]
        assert done["diff"] == {"before": {name: options[name] for name in new}, "after": new}
        cycle(run, module, **{**options, "id": ident})
    if module == "user_keys":
        return
    end = cycle(run, module, **{**options, "state": "absent", **sample.get("end", {})})[1]
    if "end" not in sample:
        assert end["entity"] is None and end["diff"]["after"] == {} and end["diff"]["before"]
