"""Messages that both ends of a link share: frozen dataclasses, plain values, one version number.

Everything here crosses a process border as JSON, is stored with jobs, and is read by agents of one version older or
newer: fields are only ever added, with a default; unknown fields are ignored.
"""

VERSION = 1
