"""What a job cost: a meter for its steps, and a price from a tariff."""

from __future__ import annotations

import time
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from pydantic import ValidationError

from shared.contracts import Cost, StageTiming, Tariff
from shared.storage import traffic

GIGABYTE = 10**9
_STEP = Decimal("0.000001")


def read_tariff(path: Path | None) -> Tariff | None:
    """The tariff in a file; None without a path. Raises ValueError, which says what is wrong with it."""
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
    """The sums over the stages; with a tariff also their price, rounded to a millionth of its currency."""
    timings = list(stages)
    cpu_s = sum(timing.cpu_s for timing in timings)
    read = sum(timing.bytes_read for timing in timings)
    written = sum(timing.bytes_written for timing in timings)
    transactions = sum(timing.transactions for timing in timings)
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
    """What a step has used since the meter was made. One process runs one step at a time."""

    def __init__(self) -> None:
        self._cpu, self._wall, self._traffic = time.process_time(), time.monotonic(), traffic()

    def spent(self, bytes_read: int = 0) -> StageTiming:
        """Seconds, bytes and transactions so far. bytes_read: those that the step read of the video."""
        now = traffic()
        return StageTiming(
            cpu_s=time.process_time() - self._cpu,
            wall_s=time.monotonic() - self._wall,
            bytes_read=bytes_read,
            bytes_written=now.bytes_written - self._traffic.bytes_written,
            transactions=now.transactions - self._traffic.transactions,
        )
