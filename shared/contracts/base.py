"""What all contracts are made of."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

_RECORD = "record"


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of_record(cls, data: bytes) -> Self:
        """From JSON that a service of this version or another wrote: fields that are not known here are
        passed over, at any depth, and a later schema_version is read as this one.

        Raises ValidationError.
        """
        return cls.model_validate_json(data, extra="ignore", context=_RECORD)


def _known(version: Any, info: ValidationInfo) -> Any:
    later = info.context == _RECORD and type(version) is int and version > 1
    return 1 if later else version


Version = Annotated[Literal[1], BeforeValidator(_known)]
"""What this version writes, and all that it takes from anybody but itself: see Contract.of_record."""


def _to_fraction(value: Any) -> Any:
    """Digits only: an exponent in a text could ask for a number with a billion digits."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(/0*[1-9][0-9]{0,17})?", value):
        return Fraction(value)
    raise ValueError('expected a fraction such as "30000/1001"')


def fraction_text(value: Fraction) -> str:
    """`30000/1001`, and `25/1`: always num/den, so that no reader takes it for a float."""
    return f"{value.numerator}/{value.denominator}"


Rate = Annotated[
    Fraction,
    BeforeValidator(_to_fraction),
    PlainSerializer(fraction_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(/[1-9]\d*)?$", "examples": ["30000/1001", "25/1"]}),
]
"""An exact number, "num/den" in JSON."""

Seconds = Annotated[
    Decimal,
    Field(ge=0, le=600, max_digits=9, decimal_places=6),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 600}),
]
"""Seconds as the caller wrote them: decimal, so 0.1 stays 1/10; to the microsecond."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
