"""What a job used (time, bytes, requests), and its price by the operator's tariff."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from shared.contracts.base import Contract


class Timing(Contract):
    """What the job cost, by stage. Not part of what repeats: two runs differ here and only here."""

    stages: dict[str, StageTiming]
    units_cached: int
    units_scored: int


class StageTiming(Contract):
    cpu_s: float
    wall_s: float
    bytes_read: int
    """Read from the video."""
    bytes_written: int = 0
    transactions: int = 0
    """Requests to storage."""


class Tariff(Contract):
    """tariff.json: prices that the operator pays, in `currency`. MATCHCUT_TARIFF names another file."""

    name: str
    currency: str
    cpu_hour: Annotated[Decimal, Field(ge=0)]
    read_gb: Annotated[Decimal, Field(ge=0)]
    written_gb: Annotated[Decimal, Field(ge=0)]
    transactions_10000: Annotated[Decimal, Field(ge=0)]


class Cost(Contract):
    """What the job used in all; scores that were there already are free. Differs between runs, as timing
    does."""

    cpu_s: float
    bytes_read: int
    bytes_written: int
    transactions: int
    price: Decimal | None
    currency: str | None
    tariff: str | None
    """The tariff's name."""
