"""Molecule's scenarios on machines of the run's own, without molecule's command line, which starts slowly at each step.

What decides is the same: molecule's playbooks, inventory and sequences, and what .config/molecule/config.yml sets. The
run has a copy of the project: its machines, the wheels that scenarios build and what they write do not meet those of a
developer who uses molecule meanwhile.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
COPIED = ["molecule", "mgmt_server", "roles", "collections", "tools", "pyproject.toml", "README.md"]
STEPS = {"prepare", "check", "converge", "idempotence", "verify"}
WITHIN = {"syntax"}  # steps that the others contain: a playbook that cannot be read cannot be run
CHANGED = re.compile(r"^\S+ +: ok=\d+ +changed=[1-9]", re.MULTILINE)


def scenarios() -> list[str]:
    """All scenarios that test a role."""
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/converge.yml"))


class StepFailed(AssertionError):
    """A step of a scenario ended badly; the text has what it said last."""


class Project:
    """A copy of the project in `top`, with machines for some scenarios, which `up` boots and `down` removes."""

    def __init__(self, top: Path, scenarios: list[str]) -> None:
        self.top, self.scenarios = top, scenarios
        self.preparing, self.prepared = threading.Lock(), False
        skip = shutil.ignore_patterns("__pycache__", "runtime.yml", "output")
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, top / name, ignore=skip)
            else:
                shutil.copy(ROOT / name, top / name)
        self.keep_machines(scenarios)
        told = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())
        self.default_sequence: list[str] = told["scenario"]["test_sequence"]
        self.options = [self.filled(arg) for arg in told["ansible"]["executor"]["args"]["ansible_playbook"]]
        self.environment = {name: self.filled(value) for name, value in told["ansible"]["env"].items()}
        self.environment |= {"MOLECULE_PROJECT_DIRECTORY": str(top), "ANSIBLE_CONFIG": str(top / "ansible.cfg")}
        config = configparser.ConfigParser()
        config.read_dict(told["ansible"]["cfg"])
        with open(top / "ansible.cfg", "w") as file:
            config.write(file)

    def filled(self, text: str) -> str:
        return text.replace("${MOLECULE_PROJECT_DIRECTORY}", str(self.top))

    def keep_machines(self, scenarios: list[str]) -> None:
        """Take out of the inventory what the scenarios do not use."""
        converge = [self.top / "molecule" / name / "converge.yml" for name in scenarios]
        used = {play["hosts"] for playbook in converge for play in yaml.safe_load(playbook.read_text())}
        path = self.top / "molecule/inventory/hosts.yml"
        inventory = yaml.safe_load(path.read_text())
        machines = inventory["all"]["children"]["machines"]["hosts"]
        inventory["all"]["children"]["machines"]["hosts"] = {name: machines[name] for name in machines if name in used}
        path.write_text(yaml.safe_dump(inventory))

    def play(self, scenario: str, step: str, *options: str) -> str:
        """Run a playbook of a scenario and give what it said."""
        ephemeral = self.top / "ephemeral" / scenario
        ephemeral.mkdir(parents=True, exist_ok=True)
        playbook = self.top / "molecule" / scenario / f"{step}.yml"
        done = subprocess.run(
            [PLAYBOOK, *self.options, *options, playbook],
            env=os.environ | self.environment | {"MOLECULE_EPHEMERAL_DIRECTORY": str(ephemeral)},
            cwd=playbook.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=900,
        )  # fmt: skip
        if done.returncode:
            raise StepFailed(f"{scenario}: {' '.join([step, *options])} failed:\n{done.stdout[-8000:]}")
        return done.stdout

    def up(self) -> None:
        self.play("default", "create")

    def down(self) -> None:
        self.play("default", "destroy")
        shutil.rmtree(self.top / "dist", ignore_errors=True)  # wheels, more than pytest should keep

    def sequence_of(self, scenario: str) -> list[str]:
        own = yaml.safe_load((self.top / "molecule" / scenario / "molecule.yml").read_text())
        found: list[str] = own.get("scenario", {}).get("test_sequence", self.default_sequence)
        return found

    def run(self, scenario: str) -> dict[str, float]:
        """The scenario's whole sequence; gives the seconds of each step. StepFailed at the first that fails."""
        sequence = self.sequence_of(scenario)
        if unknown := set(sequence) - STEPS - WITHIN:
            raise StepFailed(f"{scenario}: its sequence has {', '.join(unknown)}, which tests/molecule does not know")
        seconds = {}
        for step in sequence:
            if step in STEPS:
                began = time.monotonic()
                self.step(scenario, step)
                seconds[step] = round(time.monotonic() - began, 1)
        return seconds

    def step(self, scenario: str, step: str) -> None:
        if step == "prepare":
            self.prepare()
        elif step == "check":
            self.play(scenario, "converge", "--check")
        elif step == "idempotence":
            said = self.play(scenario, "converge")
            if CHANGED.search(said):
                raise StepFailed(f"{scenario}: applied a second time, it changed something:\n{said[-8000:]}")
        else:
            self.play(scenario, step)

    def prepare(self) -> None:
        """Prepare all scenarios before the first that needs it goes on: they write the same files."""
        with self.preparing:
            if not self.prepared:
                for scenario in self.scenarios:
                    if "prepare" in self.sequence_of(scenario):
                        self.play(scenario, "prepare")
                self.prepared = True
