"""Batches through the same steps as the API and its orchestrations."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from shared import fan_out
from shared.contracts import Batch, BatchStatus
from shared.jobs import batches
from tests.support.in_process import LIGHT, InProcessService


def accept(service: InProcessService, videos: list[Any], key: str | None = None, **options: Any) -> Batch:
    body = json.dumps({"videos": videos, "options": {**LIGHT, **options}}).encode()
    return batches.accept_batch(service.settings, service.store, *batches.parse_batch(body, lines=False), key)


def expand(service: InProcessService, batch: Batch) -> None:
    for first in range(0, len(batch.requests), fan_out.BATCH_BLOCK):
        batches.expand(service.settings, service.store, batch.id, first)
    assert batches.finish(service.store, batch.id)


def describe(service: InProcessService, batch: Batch) -> BatchStatus:
    return batches.describe_batch(service.settings, service.store, batch, datetime.now(UTC))
