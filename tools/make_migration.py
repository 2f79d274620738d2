#!/usr/bin/env python3
"""Writes a migration from what the models have beyond the migrations that are there.

tools/make_migration.py --initial       writes 0001_initial.py anew: only as long as no cloud is installed with it
tools/make_migration.py "what changes"  writes the next one; read it before it is committed
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mgmt_server import db  # noqa: E402
from mgmt_server.db.schema import alembic  # noqa: E402
from mgmt_server.jobs import rows  # noqa: E402, F401  has tables
from mgmt_server.model import everything  # noqa: E402

VERSIONS = ROOT / "mgmt_server/db/migrations/versions"
RUFF = ROOT / ".venv/bin/ruff"


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    initial = sys.argv[1] == "--initial"
    if initial:
        later = sorted(p.name for p in VERSIONS.glob("0*.py") if not p.name.startswith("0001"))
        if later:
            print(f"{', '.join(later)} stand on the first migration: it is history now", file=sys.stderr)
            return 1
        (VERSIONS / "0001_initial.py").unlink(missing_ok=True)
    everything()
    config = alembic()
    number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
    with tempfile.TemporaryDirectory() as folder:
        db.connect(f"sqlite:///{folder}/empty.db")
        if not initial:
            with db.engine().begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        with db.engine().connect() as connection:
            config.attributes |= {"connection": connection, "batch": not initial}  # nothing to be copied: plain CREATE
            message = "initial" if initial else sys.argv[1]
            made = command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04}")
        db.disconnect()
    path = Path(getattr(made, "path", ""))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.strip().startswith("# ###")))
    for action in (["format"], ["check", "--fix"], ["format"]):
        subprocess.run([RUFF, *action, "--quiet", path], check=True)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
