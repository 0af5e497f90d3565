"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every run and machine, however slow the machine is.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
