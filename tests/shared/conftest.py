from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.azurite import Azurite
from tests.support.operator import Operator


@pytest.fixture
def operator(azurite: Azurite, tmp_path: Path) -> Operator:
    return Operator(azurite, tmp_path)
