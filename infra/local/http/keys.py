"""Function keys of the embedded host, which callers of the app's HTTP functions need."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from infra.local.app import AppError, Function

SETTING = "MATCHCUT_FUNCTION_KEYS"
_LEAST = 16
_PAIR = re.compile(rf"[A-Za-z0-9_.-]{{1,100}}=[!-+\--~]{{{_LEAST},200}}")


class Keys:
    """The keys in a text of the form `name=key,name=key`. Without keys every caller is admitted.

    Raises AppError for text of another form; its message repeats no key.
    """

    def __init__(self, text: str) -> None:
        pairs = [pair.strip() for pair in text.split(",") if pair.strip()]
        if wrong := [number for number, pair in enumerate(pairs, 1) if not _PAIR.fullmatch(pair)]:
            raise AppError(
                f"{SETTING}: entry {wrong[0]} is not name=key with a key of {_LEAST} to 200 characters,"
                " letters, digits and signs but the comma."
            )
        self._keys = [pair.partition("=")[2].encode() for pair in pairs]

    def admit(self, function: Function, headers: Mapping[str, str], params: Mapping[str, str]) -> bool:
        """Whether the caller may call the function, by its authLevel: with a key in x-functions-key, else as
        `code` in the URL. The given key is compared with every key, each in constant time."""
        level = function.trigger.auth_level
        if not self._keys or str(getattr(level, "value", level)).upper() == "ANONYMOUS":
            return True
        given = (headers.get("x-functions-key") or params.get("code") or "").encode()
        return sum(hmac.compare_digest(given, key) for key in self._keys) > 0
