"""The durable client that functions are given, as far as the service uses it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class Client:
    """The part of the durable client that is used; `instances` is what the host says of each."""

    def __init__(self, instances: dict[str, str], refuses: bool = False) -> None:
        self.instances, self.refuses = instances, refuses
        self.started: list[str] = []
        self.inputs: dict[str, Any] = {}

    async def get_status(self, instance: str) -> Any:
        found = self.instances.get(instance)
        return SimpleNamespace(
            runtime_status=SimpleNamespace(value=found) if found else None, custom_status=None
        )

    async def start_new(self, name: str, instance_id: str, client_input: Any) -> None:
        if self.refuses:
            raise RuntimeError("the host says no")
        self.inputs[instance_id] = (name, client_input)
        self.started.append(instance_id)
