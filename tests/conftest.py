"""Fixtures that every test may use."""

from __future__ import annotations

import os

# The app reads its settings when it is first asked; tests that need storage set their own.
os.environ.setdefault("AzureWebJobsStorage", "UseDevelopmentStorage=true")
