"""Schemathesis finds nothing between the OpenAPI document and the service (`make fuzz` looks for longer)."""

from __future__ import annotations

import pytest

from tests.support.fuzz import fuzz
from tests.support.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]


@pytest.mark.timeout(600)
def test_the_api_keeps_to_its_document_whatever_it_is_sent(service: Service) -> None:
    """Its answers' statuses, types, headers and bodies; what the document forbids is refused; no 5xx."""
    done = fuzz(service, examples=3, seed=None, limit_s=500)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Tested: 12" in done.stdout
