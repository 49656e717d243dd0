"""The base class of all contracts, and the types of their fields."""

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
        """Read JSON that the service wrote, in this version or another: ignore unknown fields at any depth,
        and read a later schema_version as this one.

        Raises ValidationError.
        """
        return cls.model_validate_json(data, extra="ignore", context=_RECORD)


def _known(version: Any, info: ValidationInfo) -> Any:
    later = info.context == _RECORD and type(version) is int and version > 1
    return 1 if later else version


Version = Annotated[Literal[1], BeforeValidator(_known)]
"""The version that the service writes. In requests, manifests and profiles no other is valid; in records a
later one is: see Contract.of_record."""


def _to_fraction(value: Any) -> Any:
    """A text may hold digits only, since an exponent could stand for a number with a billion digits."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(/0*[1-9][0-9]{0,17})?", value):
        return Fraction(value)
    raise ValueError('expected a fraction such as "30000/1001"')


def fraction_text(value: Fraction) -> str:
    """`30000/1001` or `25/1`: always num/den, so that no reader takes it for a float."""
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
"""Seconds as the caller wrote them, 0 to 600, to the microsecond. They are decimal, so 0.1 stays 1/10."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
