"""host.json as a pod sees it, and whether the scalers count as the pods work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from infra.k8s.render import Document, containers, identity

_OVERRIDE = "AzureFunctionsJobHost__"
_DURABLE = "extensions:durabletask:"
HostConfig = dict[str, str]
"""Path of a host.json value, lower case with colons as .NET has it -> its text."""

_AZURE_QUEUE = {
    "queueName",
    "queueLength",
    "queueLengthStrategy",
    "activationQueueLength",
    "accountName",
    "cloud",
    "endpointSuffix",
}
_MSSQL = {"query", "targetValue", "activationTargetValue", "host", "port", "database", "username"}
TRIGGERS = {
    "azurestorage": ("azure-queue", _AZURE_QUEUE, "connection"),
    "mssql": ("mssql", _MSSQL, "connectionString"),
}
"""Durable's storage provider -> KEDA trigger, the metadata it knows, the parameter its secret fills.

From KEDA's pages on its scalers. The custom resource definition does not say it: metadata is any map.
"""


def flatten(value: Any, path: str = "") -> HostConfig:
    if not isinstance(value, dict):
        return {path: str(value).lower() if isinstance(value, bool) else str(value)}
    flat: HostConfig = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{path}:{key}".lstrip(":").lower())
    return flat


def environment(pod_owner: Document, documents: list[Document]) -> dict[str, str]:
    """Plain settings of a workload's containers: ConfigMaps, then what `env` sets over them."""
    maps = {d["metadata"]["name"]: d.get("data", {}) for d in documents if d["kind"] == "ConfigMap"}
    settings: dict[str, str] = {}
    for container in containers(pod_owner):
        for source in container.get("envFrom", []):
            settings |= maps.get(source.get("configMapRef", {}).get("name"), {})
        settings |= {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
    return settings


def effective(host: Document, settings: dict[str, str]) -> HostConfig:
    """host.json with the app settings that override it: AzureFunctionsJobHost__a__b sets a:b."""
    config = flatten(host)
    for name, value in settings.items():
        if name.lower().startswith(_OVERRIDE.lower()):
            config[name[len(_OVERRIDE) :].replace("__", ":").lower()] = value
    return config


def check_host(host: Document) -> Iterator[str]:
    """What host.json must say for any deployment."""
    config = flatten(host)
    wanted = {
        "version": "2.0",
        "extensionbundle:version": "[4.*, 5.0.0)",
        "extensions:http:routeprefix": "api",
        f"{_DURABLE}maxconcurrentactivityfunctions": "1",
        f"{_DURABLE}extendedsessionsenabled": "false",
        f"{_DURABLE}tracing:traceinputsandoutputs": "false",
        # A pod that goes ends what is short; the unit that it loses is soon begun again.
        f"{_DURABLE}usegracefulshutdown": "true",
        f"{_DURABLE}storageprovider:workitemqueuevisibilitytimeout": "00:02:00",
    }
    for path, value in wanted.items():
        if config.get(path) != value:
            yield f"{path} is {config.get(path)}, and must be {value}"
    if not re.fullmatch(r"[a-z][a-z0-9]{2,44}", config.get(f"{_DURABLE}hubname", "")):
        yield "hubName must be 3 to 45 lower-case letters and digits, since it names queues"


def check_scalers(documents: list[Document], host: Document) -> Iterator[str]:
    """Each scaler's arguments equal the concurrency of the pods it scales."""
    deployments = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Deployment"}
    configs = {name: effective(host, environment(d, documents)) for name, d in deployments.items()}
    if len({tuple(sorted(config.items())) for config in configs.values()}) > 1:
        yield "the Deployments see different host.json values, but share one task hub"
    scalers = [d for d in documents if d["kind"] == "ScaledObject"]
    if not scalers:
        yield "nothing scales the workers: there is no ScaledObject"
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]["name"]
        if not scaler["spec"].get("triggers"):
            yield f"{identity(scaler)} has no triggers"
        if target not in deployments:
            yield f"{identity(scaler)} scales Deployment/{target}, which does not exist"
        elif "replicas" in deployments[target]["spec"]:
            yield f"Deployment/{target} fixes its replicas, which {identity(scaler)} owns"
        else:
            yield from _check_triggers(scaler, configs[target], documents, _secrets(deployments[target]))


def _secrets(deployment: Document) -> set[str]:
    sources = [source for container in containers(deployment) for source in container.get("envFrom", [])]
    return {source["secretRef"]["name"] for source in sources if "secretRef" in source}


def _check_triggers(
    scaler: Document, config: HostConfig, documents: list[Document], secrets: set[str]
) -> Iterator[str]:
    name = identity(scaler)
    provider = config.get(f"{_DURABLE}storageprovider:type", "AzureStorage")
    if provider.lower() not in TRIGGERS:
        yield f"{name}: no trigger is known for Durable's storage provider {provider}"
        return
    kind, known, parameter = TRIGGERS[provider.lower()]
    for trigger in scaler["spec"].get("triggers", []):
        metadata = trigger.get("metadata", {})
        if trigger["type"] != kind:
            yield f"{name}: trigger {trigger['type']} does not see the provider {provider}, {kind} does"
            continue
        if unknown := sorted(metadata.keys() - known):
            yield f"{name}: the {kind} trigger knows no {', '.join(unknown)}"
        wanted = _azure_queue(config) if kind == "azure-queue" else _mssql(config)
        for key, value in wanted.items():
            if metadata.get(key) != value:
                yield f"{name}: {key} is {metadata.get(key)}, and must be {value} to agree with host.json"
        connection = config[f"{_DURABLE}storageprovider:connectionstringname"]
        yield from _check_authentication(name, trigger, (parameter, connection), documents, secrets)


def _azure_queue(config: HostConfig) -> dict[str, str]:
    return {
        "queueName": f"{config[f'{_DURABLE}hubname']}-workitems",
        "queueLength": config[f"{_DURABLE}maxconcurrentactivityfunctions"],
        "queueLengthStrategy": "all",
    }


def _mssql(config: HostConfig) -> dict[str, str]:
    orchestrators = config[f"{_DURABLE}maxconcurrentorchestratorfunctions"]
    activities = config[f"{_DURABLE}maxconcurrentactivityfunctions"]
    return {"query": f"SELECT dt.GetScaleRecommendation({orchestrators}, {activities})", "targetValue": "1"}


def _check_authentication(
    name: str, trigger: Document, wanted: tuple[str, str], documents: list[Document], secrets: set[str]
) -> Iterator[str]:
    """The scaler must look with the login of the app: on SQL Server the login is the task hub."""
    reference = trigger.get("authenticationRef", {}).get("name")
    found = [d for d in documents if identity(d) == f"TriggerAuthentication/{reference}"]
    if not found:
        yield f"{name}: its trigger needs TriggerAuthentication/{reference}, which does not exist"
        return
    targets = found[0]["spec"].get("secretTargetRef", [])
    if [(target["parameter"], target["key"]) for target in targets] != [wanted]:
        yield f"{identity(found[0])} must fill {wanted[0]} from the key {wanted[1]}, as the app does"
    for target in targets:
        if target["name"] not in secrets:
            yield f"{identity(found[0])} reads Secret/{target['name']}, which the app does not"
