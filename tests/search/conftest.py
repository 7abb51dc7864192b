"""What all these tests have in common."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: it took more than half of the time of a simulated search.

    What is waited for, and in which order, is asked where power is cut (test_power_cuts.py) and
    where waits are counted (test_together.py): they put in a disk of their own.
    """
    monkeypatch.setattr(os, "fsync", lambda _: None)
