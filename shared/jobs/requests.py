"""Parse the bodies of requests."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from shared.contracts import JobRequest
from shared.errors import InvalidRequest, UnknownField

MAX_BODY_BYTES = 64 * 1024


class InvalidFields(InvalidRequest):
    """A request with faulty fields, which the problem lists as `errors`: {"field", "message"} each."""

    def __init__(self, message: str, fields: tuple[dict[str, str], ...]) -> None:
        super().__init__(message)
        self.fields = fields


class UnknownFields(InvalidFields, UnknownField):
    """A request with fields that the contract lacks."""

    code = UnknownField.code
    action = UnknownField.action


def parse_request(body: bytes) -> JobRequest:
    """The request in a JSON body. Raises InvalidRequest or UnknownField.

    No message repeats a value, which may hold a SAS.
    """
    check_length(body)
    try:
        return JobRequest.model_validate_json(body)
    except ValidationError as bad:
        fields = tuple(field_errors(bad))
        kinds = [error["type"] for error in bad.errors(include_url=False, include_input=False)]
    unknown = [field["field"] for field, kind in zip(fields, kinds, strict=True) if kind == "extra_forbidden"]
    if unknown:
        raise UnknownFields(f"Unknown field: {', '.join(unknown)}.", fields)
    first = fields[0]
    raise InvalidFields(f"{first['field']}: {first['message']}.", fields)


def field_errors(bad: ValidationError, before: str = "") -> Iterator[dict[str, str]]:
    """{"field", "message"} of each fault, without the value. before: a prefix of the fields' names."""
    for error in bad.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in error["loc"]) or "body"
        yield {"field": before + where, "message": error["msg"]}


def check_length(body: bytes) -> None:
    """Raises InvalidRequest for a body of more than MAX_BODY_BYTES."""
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(f"The body is longer than {MAX_BODY_BYTES} bytes.")
