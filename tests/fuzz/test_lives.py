"""Things are made, used and deleted in any order; what the API lists is what a model says there is."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from tests.fuzz.walk import NAMES, Walk, run


class Lives(Walk, RuleBasedStateMachine):
    """Zones with pods, disk offerings and key pairs."""

    zones, pods, offerings, keys = Bundle("zones"), Bundle("pods"), Bundle("offerings"), Bundle("keys")

    def __init__(self):
        super().__init__()
        self.there = {kind: {} for kind in KINDS}
        self.offered = {o["id"] for o in self.cloud.ask("listDiskOfferings")["diskoffering"]}

    def keep(self, kind, key, value):
        if key is None:
            return multiple()
        self.there[kind][key] = value
        return key

    @rule(target=zones, name=NAMES)
    def make_zone(self, name):
        sent = {"networktype": "Advanced", "dns1": "192.0.2.1", "internaldns1": "192.0.2.1"}
        made = self.ask("createZone", name=name, **sent)
        assert (made is None) == (name in self.there["zone"].values())
        return self.keep("zone", made and made["zone"]["id"], name)

    @rule(zone=zones, name=NAMES)
    def rename_zone(self, zone, name):
        if self.ask("updateZone", id=zone, name=name):
            assert zone in self.there["zone"]
            self.there["zone"][zone] = name

    @rule(zone=consumes(zones))
    def delete_zone(self, zone):
        done = self.ask("deleteZone", id=zone)
        used = zone in {z for z, _ in self.there["pod"].values()}
        assert (done is None) == used
        if done:
            del self.there["zone"][zone]
            assert self.ask("deleteZone", id=zone) is None

    @rule(target=pods, zone=zones, name=NAMES, net=st.integers(1, 5))
    def make_pod(self, zone, name, net):
        sent = {
            "gateway": f"10.{net}.0.1",
            "netmask": "255.255.255.0",
            "startip": f"10.{net}.0.10",
            "endip": f"10.{net}.0.20",
        }
        made = self.ask("createPod", zoneid=zone, name=name, **sent)
        assert made is None or zone in self.there["zone"]
        return self.keep("pod", made and made["pod"]["id"], (zone, name))

    @rule(pod=consumes(pods))
    def delete_pod(self, pod):
        assert self.ask("deletePod", id=pod)
        del self.there["pod"][pod]
        assert self.ask("updatePod", id=pod, name="x") is None

    @rule(target=offerings, name=NAMES, size=st.integers(1, 2000))
    def make_offering(self, name, size):
        made = self.ask("createDiskOffering", name=name, displaytext=name, disksize=size)
        return self.keep("diskoffering", made and made["diskoffering"]["id"], name)

    @rule(offering=offerings, name=NAMES)
    def rename_offering(self, offering, name):
        if self.ask("updateDiskOffering", id=offering, name=name):
            self.there["diskoffering"][offering] = name

    @rule(offering=consumes(offerings))
    def delete_offering(self, offering):
        assert self.ask("deleteDiskOffering", id=offering)
        del self.there["diskoffering"][offering]

    @rule(target=keys, name=NAMES)
    def make_key(self, name):
        made = self.ask("createSSHKeyPair", name=name)
        assert (made is None) == (name in self.there["sshkeypair"])
        return self.keep("sshkeypair", made and name, name)

    @rule(key=consumes(keys))
    def delete_key(self, key):
        assert self.ask("deleteSSHKeyPair", name=key)
        del self.there["sshkeypair"][key]
        assert self.ask("deleteSSHKeyPair", name=key) is None

    @invariant()
    def lists_are_the_model(self):
        for kind, (command, key) in KINDS.items():
            rows = self.cloud.ask(command).get(kind, [])
            found = {r[key]: r["name"] for r in rows if r[key] not in self.offered}
            model = self.there[kind]
            assert found == {k: v[1] if isinstance(v, tuple) else v for k, v in model.items()}, kind


KINDS = {
    "zone": ("listZones", "id"), "pod": ("listPods", "id"), "diskoffering": ("listDiskOfferings", "id"),
    "sshkeypair": ("listSSHKeyPairs", "name"),
}  # fmt: skip


@pytest.mark.parametrize("examples", [8, pytest.param(150, marks=pytest.mark.long)])
def test_any_order_of_lives_is_as_the_model_says(fresh_file, tmp_path, examples):
    run(Lives, fresh_file, tmp_path, examples)
