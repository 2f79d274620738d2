"""Throw-away systemd machines for role tests and the lab, without a container engine."""
