"""What a job cost, from what it used and a tariff (pure)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from pydantic import ValidationError

from shared.contracts import (
    Cost,
    StageTiming,
    Tariff,
)
from shared.storage import (
    traffic,
)

GIGABYTE = 10**9
_STEP = Decimal("0.000001")


def read_tariff(path: Path | None) -> Tariff | None:
    """None without one. Raises ValueError that says what is wrong with the file."""
    if path is None:
        return None
    try:
        return Tariff.model_validate_json(path.read_bytes())
    except OSError as bad:
        raise ValueError(f"the tariff {path} cannot be read ({bad.strerror})") from None
    except ValidationError as bad:
        first = bad.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ValueError(f"the tariff {path}: {where}: {first['msg']}") from None


def cost_of(stages: Iterable[StageTiming], tariff: Tariff | None) -> Cost:
    """The sums, and their price where there is a tariff, rounded to a millionth of its currency."""
    several = list(stages)
    cpu_s = sum(stage.cpu_s for stage in several)
    read = sum(stage.bytes_read for stage in several)
    written = sum(stage.bytes_written for stage in several)
    transactions = sum(stage.transactions for stage in several)
    price = None
    if tariff is not None:
        exact = (
            Decimal(repr(cpu_s)) / 3600 * tariff.cpu_hour
            + Decimal(read) / GIGABYTE * tariff.read_gb
            + Decimal(written) / GIGABYTE * tariff.written_gb
            + Decimal(transactions) / 10_000 * tariff.transactions_10000
        )
        price = exact.quantize(_STEP, ROUND_HALF_EVEN)
    return Cost(
        cpu_s=cpu_s,
        bytes_read=read,
        bytes_written=written,
        transactions=transactions,
        price=price,
        currency=tariff.currency if tariff else None,
        tariff=tariff.name if tariff else None,
    )


class Meter:
    """What a step has used since it began; one process runs one step at a time."""

    def __init__(self) -> None:
        self._cpu, self._wall, self._traffic = time.process_time(), time.monotonic(), traffic()

    def spent(self, bytes_read: int = 0) -> StageTiming:
        """bytes_read: of the video."""
        now = traffic()
        return StageTiming(
            cpu_s=time.process_time() - self._cpu,
            wall_s=time.monotonic() - self._wall,
            bytes_read=bytes_read,
            bytes_written=now.bytes_written - self._traffic.bytes_written,
            transactions=now.transactions - self._traffic.transactions,
        )
