"""Figures: 50 entities in one looped task, made and then looked at again.

.venv/bin/python -m tests.collection.bench_loop
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.collection.servers import Server, simulator

NUMBER = 50
PLAY = """
- name: Bench
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Offerings
      cloudwright.cloud.disk_offering:
        name: "bench{{ item }}"
        disk_size: 1
      loop: "{{ range(NUMBER) | list }}"
""".replace("NUMBER", str(NUMBER))
EMPTY = "- name: Empty\n  hosts: localhost\n  gather_facts: false\n  tasks: []\n"


def figures(server: Server, rounds: int = 3) -> dict[str, float]:
    """Milliseconds for each of 50 entities in one looped task, the start of ansible-playbook taken off.

    Raises RuntimeError when a play fails or does not do what it should.
    """
    start = min(_seconds(server, EMPTY, 0) for _round in range(rounds))
    made = _seconds(server, PLAY, 1)
    again = min(_seconds(server, PLAY, 0) for _round in range(rounds))
    return {
        "collection_create_ms": round((made - start) * 1000 / NUMBER, 1),
        "collection_unchanged_ms": round((again - start) * 1000 / NUMBER, 1),
        "collection_start_ms": round(start * 1000, 1),
    }


def _seconds(server: Server, play: str, changed: int) -> float:
    done = server.play(play)
    if done.code or done.recap("changed") != changed:
        raise RuntimeError(done.text)
    return done.seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, simulator(Path(folder)) as server:
        for name, value in figures(server).items():
            print(f"{name:28} {value:8.1f}")


if __name__ == "__main__":
    main()
