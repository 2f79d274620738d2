"""What state machines share: a cloud of their own for each walk, and refusals that are in the words of the protocol."""

from __future__ import annotations

import shutil

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from mgmt_server import db, install
from mgmt_server.api import callers
from tests.cloud import Cloud, Refused

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=20
)

# 530 says that something failed inside, and is no answer to bad input. CloudStack says so of these when not empty.
NOT_EMPTY = ("deleteZone", "deletePod", "deleteCluster", "deleteDomain")


class Walk:
    fresh = folder = None

    def __init__(self):
        super().__init__()
        shutil.copyfile(self.fresh, self.folder / "cloud.db")
        db.connect(f"sqlite:///{self.folder}/cloud.db")
        callers.forget()
        install.give_keys()
        self.cloud = Cloud()

    def teardown(self):
        db.disconnect()

    def ask(self, command, **sent):
        """The answer, or None for a refusal in the protocol's words."""
        return self._told(self.cloud.ask, command, sent)

    def finish(self, command, **sent):
        """What a job answers, or None."""
        return self._told(self.cloud.job, command, sent)

    @staticmethod
    def _told(how, command, sent):
        try:
            return how(command, **sent)
        except Refused as refused:
            fitting = (430, 431, 531, 532, 533, 535, 536, 537, *((530,) if command in NOT_EMPTY else ()))
            assert refused.status in fitting, (command, refused)
            assert "internal error" not in refused.text
            return None


def run(machine, fresh, folder, examples):
    """Walk so often: a few walks are the same each time, what is random is the long ones'."""
    machine.fresh, machine.folder = fresh, folder
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            database=None,
            derandomize=examples < 100,
            suppress_health_check=list(HealthCheck),
        ),
    )
