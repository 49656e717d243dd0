"""Keep secrets out of texts that people and logs see."""

from __future__ import annotations

import re

# A query string with a signature is redacted as a whole; of a key, a password or a token, its value.
_SECRETS = (
    (re.compile(r"\?[^\s'\"<>)]*?\bsig=[^\s'\"<>)]*", re.IGNORECASE), "?[redacted]"),
    (re.compile(r"\b(sig)=[^&\s'\"<>)]+", re.IGNORECASE), r"\1=[redacted]"),
    (
        re.compile(
            r"\b(AccountKey|SharedAccessSignature|SharedAccessKey|Password|Pwd)=[^;\s'\"]+", re.IGNORECASE
        ),
        r"\1=[redacted]",
    ),
    (re.compile(r"\b(Bearer|SharedKey)\s+[^\s'\"<>,]+", re.IGNORECASE), r"\1 [redacted]"),
)


def redact(text: str) -> str:
    """The text without SAS signatures, account keys, passwords and bearer tokens."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
