"""Stands in for the get-pip script that ansible-test downloads for each of its virtual environments.

Where that download is out of reach but a package index is not, ensurepip brings pip, and pip the rest.
"""

import ensurepip
import subprocess
import sys

ensurepip.bootstrap(default_pip=True)
wanted = [arg for arg in sys.argv[1:] if not arg.startswith(("-", "pip=="))]
if wanted:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.check_call([*pip, *wanted])
