"""The app of the embedded host's own tests, and HTTP against a host that runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.embedded import EmbeddedHost
from infra.local.http import PREFIX
from tests.support.waiting import LIMIT_S, until

TINY = "tests.infra.local.apps.tiny.function_app"


@dataclass
class Api:
    """HTTP against a host: `get` and `post` are the app's, the others the management routes."""

    http: httpx.Client
    host: EmbeddedHost

    def manage(self, method: str, path: str, **request: Any) -> httpx.Response:
        return self.http.request(method, PREFIX + path, **request)

    def start(self, name: str, instance: str, value: Any = None) -> httpx.Response:
        """As the SDK's client starts it: JSON in a JSON string."""
        return self.manage("POST", f"orchestrators/{name}/{instance}", json=json.dumps(value))

    def status(self, instance: str, **query: Any) -> httpx.Response:
        return self.manage("GET", f"instances/{instance}", params=query)

    def wait(self, instance: str, *statuses: str) -> dict[str, Any]:
        """Until the instance has ended, or has one of the statuses."""
        seen: dict[str, Any] = {}

        def there() -> bool:
            nonlocal seen
            answer = self.status(instance)
            seen = answer.json()
            return seen["runtimeStatus"] in statuses if statuses else answer.status_code != 202

        until(there, lambda: f"{instance} did not end: {seen}")
        return seen

    def run(self, name: str, instance: str, value: Any = None) -> Any:
        """Start, wait, and give the output."""
        assert self.start(name, instance, value).status_code == 202
        return self.wait(instance)["output"]


@contextmanager
def api_of(host: EmbeddedHost) -> Iterator[Api]:
    with httpx.Client(base_url=host.base_url, trust_env=False, timeout=LIMIT_S) as http:
        yield Api(http, host)
