"""Durable Functions without the Functions host: the engine, and the replay of orchestrators."""

from infra.local.durable.bridge import Bridge
from infra.local.durable.engine import TERMINAL, EngineServer, Retention
from infra.local.durable.replay import to_json

__all__ = ["TERMINAL", "Bridge", "EngineServer", "Retention", "to_json"]
