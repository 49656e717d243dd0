"""The core of the service, in packages. A package imports only itself and packages above it in LAYERS.

A package's `__init__` says what lives there and exports the names that others may use; the rest is private.
"""

from __future__ import annotations

LAYERS = {
    "shared.errors": "every expected failure, with a stable code",
    "shared.redact": "secrets taken out of texts",
    "shared.names": "functions of the app, ids of jobs and runs",
    "shared.settings": "settings from the environment",
    "shared.cache": "values held for a while",
    "shared.fan_out": "how many units, blocks and videos at a time",
    "shared.contracts": "records and messages, as frozen models",
    "shared.network": "which hosts may be talked to, and connections to checked addresses",
    "shared.storage": "the service's blob container: paths, records, secrets, open runs",
    "shared.timelines": "events -> edits -> files that editors open",
    "shared.video": "the caller's video: ranges, container, exact pictures and sound",
    "shared.models": "models and profiles as data, and the score tracks that they make",
    "shared.callbacks": "signed calls that tell a caller how a run ended",
    "shared.spotting": "score tracks -> signals -> events; what is worth an expensive model",
    "shared.steps": "what the activities do: plan, score, look, cut, close",
    "shared.jobs": "what callers do with jobs and batches, and what is removed when",
    "orchestrator": "the durable flow, the HTTP routes, the timers",
    "activities": "one thin binding per activity",
    "function_app": "registers the blueprints",
}
"""Module or package -> what lives there, in the order of dependency. It is the one list of this order."""
