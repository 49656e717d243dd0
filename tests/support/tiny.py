"""The app of the embedded host's own tests, and HTTP against a host that runs it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from infra.local.embedded import EmbeddedHost
from infra.local.http import PREFIX

TINY = "tests.infra.local.apps.tiny.function_app"
_LIMIT_S = 60


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
        deadline = time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline:
            answer = self.status(instance)
            seen: dict[str, Any] = answer.json()
            if seen["runtimeStatus"] in statuses if statuses else answer.status_code != 202:
                return seen
            time.sleep(0.01)
        raise AssertionError(f"{instance} did not end: {seen}")

    def run(self, name: str, instance: str, value: Any = None) -> Any:
        """Start, wait, and give the output."""
        assert self.start(name, instance, value).status_code == 202
        return self.wait(instance)["output"]
