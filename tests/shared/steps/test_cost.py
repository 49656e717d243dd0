"""What a job cost: sums, and their price."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from infra.local.azurite import Azurite
from shared.contracts import StageTiming, Tariff
from shared.settings import ROOT
from shared.steps._cost import cost_of, read_tariff
from shared.storage import traffic
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

TARIFF = Tariff(
    name="test",
    currency="EUR",
    cpu_hour=Decimal("0.36"),
    read_gb=Decimal("0.01"),
    written_gb=Decimal("0.1"),
    transactions_10000=Decimal("0.05"),
)


def test_the_price_is_the_sum_of_what_was_used() -> None:
    stages = [
        StageTiming(cpu_s=100, wall_s=1, bytes_read=10**9, bytes_written=10**8, transactions=900),
        StageTiming(cpu_s=0.5, wall_s=1, bytes_read=0, bytes_written=0, transactions=100),
    ]
    cost = cost_of(stages, TARIFF)
    assert (100.5, 10**9, 10**8, 1000) == (
        cost.cpu_s,
        cost.bytes_read,
        cost.bytes_written,
        cost.transactions,
    )
    # 100.5 s at 0.0001 + 1 GB at 0.01 + 0.1 GB at 0.1 + 1,000 requests at 0.000005
    assert Decimal("0.01005") + Decimal("0.01") + Decimal("0.01") + Decimal("0.005") == cost.price
    assert ("EUR", "test") == (cost.currency, cost.tariff)


def test_without_a_tariff_there_is_no_price() -> None:
    cost = cost_of([StageTiming(cpu_s=1, wall_s=1, bytes_read=1)], read_tariff(None))
    assert (None, None, None) == (cost.price, cost.currency, cost.tariff)


def test_the_tariff_that_is_shipped_can_be_read_and_a_broken_one_says_why(tmp_path: Path) -> None:
    assert "EUR" == getattr(read_tariff(ROOT / "tariff.json"), "currency", None)
    broken = tmp_path / "tariff.json"
    broken.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="currency: Field required"):
        read_tariff(broken)
    with pytest.raises(ValueError, match="cannot be read"):
        read_tariff(tmp_path / "nowhere.json")


@pytest.mark.azurite
def test_a_result_says_what_it_cost_and_what_it_depends_on(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    url = service.upload(make_clip(100))
    before = traffic()
    job, _ = service.run(url, segment_s=2)
    asked = traffic().transactions - before.transactions
    result = service.result(job)
    assert 0 < result.cost.transactions <= asked
    assert set(result.timing.stages) == {"plan", "score", "cut"}
    for stage in result.timing.stages.values():
        assert stage.transactions > 0
    assert result.timing.stages["score"].bytes_written > 1000
    assert result.cost.bytes_read == sum(stage.bytes_read for stage in result.timing.stages.values())
    assert result.cost.price is not None
    assert result.cost.price > 0
    assert ("0.1.0", 2) == (result.lineage.service, result.lineage.options.segment_s)
    again, _ = service.run(url, segment_s=2, name="again")
    assert result.lineage == service.result(again).lineage
    assert service.result(again).cost.cpu_s < result.cost.cpu_s


@pytest.mark.azurite
def test_a_tariff_that_cannot_be_read_costs_the_price_and_not_the_result(
    azurite: Azurite, tmp_path: Path
) -> None:
    service = InProcessService(azurite.connection_string, tariff=tmp_path / "nowhere.json")
    job, _ = service.run(service.upload(make_clip(25)))
    assert service.result(job).cost.price is None
