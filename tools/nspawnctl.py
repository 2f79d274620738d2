#!/usr/bin/env python3
"""Throw-away systemd machines: see `nspawnctl.py --help` and nspawn/cli.py."""

from nspawn.cli import main

if __name__ == "__main__":
    main()
