"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    status: str  # ok, warn, fail, skipped
    name: str
    evidence: str  # what was seen
    remedy: str = ""


def ok(name: str, evidence: str) -> Finding:
    return Finding("ok", name, evidence)


def warn(name: str, evidence: str, remedy: str) -> Finding:
    return Finding("warn", name, evidence, remedy)


def fail(name: str, evidence: str, remedy: str) -> Finding:
    return Finding("fail", name, evidence, remedy)


def skipped(name: str, why: str) -> Finding:
    return Finding("skipped", name, why)
