"""What the rendered documents must hold among themselves; each finding is one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from infra.k8s.concurrency import environment
from infra.k8s.render import Document, containers, identity
from shared.settings import Settings

GRACE_S = 60
"""On SIGTERM the Functions host takes no more work, and about 10 s later ends its Python worker, whatever
runs there (its WorkerProcessCountOptions): no grace lets a unit end. This much lets the host end by itself
and give back what it holds. The unit is begun again by another pod within two minutes (host.json)."""
STAY = "cluster-autoscaler.kubernetes.io/safe-to-evict"
GIB = 1024**3
PROCESS_BYTES = int(0.6 * GIB)
"""A Python process that has loaded all models (docs/reliability.md); an activity's limit is beyond it."""
HOST_BYTES = int(0.5 * GIB)
"""The Functions host, which is .NET: an assumption."""
HEALTH = "/api/health"
"""200 only where storage, the models and the task hub answer: a pod that would fail a POST is not ready."""
PING = "/admin/host/ping"
"""The Functions host's own answer."""


def _kinds(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def _pod(deployment: Document) -> Document:
    template: Document = deployment["spec"]["template"]
    return template


def _matches(selector: dict[str, str], template: Document) -> bool:
    labels: dict[str, str] = template["metadata"].get("labels", {})
    return selector.items() <= labels.items()


def check_selectors(documents: list[Document]) -> Iterator[str]:
    """Selectors reach the pods they are meant for, and users reach API pods only."""
    deployments = _kinds(documents, "Deployment")
    for deployment in deployments:
        selector = deployment["spec"]["selector"]["matchLabels"]
        chosen = [identity(d) for d in deployments if _matches(selector, _pod(d))]
        if chosen != [identity(deployment)]:
            yield f"{identity(deployment)} selects the pods of {', '.join(chosen) or 'nobody'}"
    for service in _kinds(documents, "Service"):
        served = [d for d in deployments if _matches(service["spec"]["selector"], _pod(d))]
        if [d["metadata"]["name"] for d in served] != ["matchcut-api"]:
            names = ", ".join(identity(d) for d in served) or "no pods"
            yield f"{identity(service)} selects {names}, and must select the API pods only"
        for port in service["spec"]["ports"]:
            open_ports = [p["name"] for d in served for c in containers(d) for p in c.get("ports", [])]
            if served and port["targetPort"] not in open_ports:
                yield f"{identity(service)} sends to port {port['targetPort']}, which its pods do not have"
        for pods, container in ((identity(d), c) for d in served for c in containers(d)):
            if _probed(container, "readinessProbe") != HEALTH:
                yield f"{pods}/{container['name']} takes requests, so {HEALTH} must say whether it is ready"
    for policy in _kinds(documents, "PodDisruptionBudget", "NetworkPolicy"):
        spec = policy["spec"]
        selector = spec.get("selector", spec.get("podSelector", {})).get("matchLabels", {})
        if not any(_matches(selector, _pod(d)) for d in deployments):
            yield f"{identity(policy)} selects no pods"


def _probed(container: Document, probe: str) -> str | None:
    path: str | None = container.get(probe, {}).get("httpGet", {}).get("path")
    return path


def check_exposure(documents: list[Document]) -> Iterator[str]:
    """Only /api leaves the cluster; PUBLIC_BASE_URL is what the ingress serves."""
    services = {s["metadata"]["name"]: s for s in _kinds(documents, "Service")}
    hosts = set()
    for ingress in _kinds(documents, "Ingress"):
        if "defaultBackend" in ingress["spec"]:
            yield f"{identity(ingress)} has a default backend, which would serve /runtime and /admin"
        for rule in ingress["spec"].get("rules", []):
            hosts.add(rule.get("host"))
            for path in rule["http"]["paths"]:
                if path["path"] != "/api" or path["pathType"] != "Prefix":
                    yield f"{identity(ingress)} routes {path['path']}; only the prefix /api may be reached"
                backend = path["backend"]["service"]
                ports = services.get(backend["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if backend["port"].get("name") not in [port["name"] for port in ports]:
                    yield f"{identity(ingress)} sends to Service/{backend['name']}, which has no such port"
    for deployment in _kinds(documents, "Deployment"):
        base = environment(deployment, documents).get("PUBLIC_BASE_URL", "")
        if base not in {f"https://{host}" for host in hosts}:
            yield f"{identity(deployment)}: the ingress does not serve PUBLIC_BASE_URL, {base or 'not set'}"


def check_images(documents: list[Document]) -> Iterator[str]:
    """One image everywhere, by a version or a digest."""
    images = {c["image"] for document in documents for c in containers(document)}
    if len(images) != 1:
        yield f"there must be one image, and there are {', '.join(sorted(images)) or 'none'}"
    for image in sorted(images):
        name, _, digest = image.partition("@")
        tag = name.rpartition("/")[2].partition(":")[2]
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) and tag in ("", "latest"):
            yield f"image {image} must have a version or a digest: pods must not differ by when they started"


def check_references(documents: list[Document], guide: str) -> Iterator[str]:
    """What a document names is rendered, or the guide says how the operator makes it."""
    names = {(d["kind"], d["metadata"]["name"]) for d in documents}
    made = set(re.findall(r"create secret (?:generic|tls) ([a-z0-9-]+)", guide))
    for document in _kinds(documents, "Secret"):
        yield f"{identity(document)}: secrets are made in the cluster, never kept here"
    for document in documents:
        for kind, name, key in _references(document):
            external = (
                kind == "Secret" and name in made and (key is None or f"--from-literal={key}=" in guide)
            )
            if (kind, name) not in names and not external:
                what = f"{kind}/{name}" + (f", key {key}" if key else "")
                yield f"{identity(document)} needs {what}, which is neither rendered nor in infra/README.md"


def _references(document: Document) -> Iterator[tuple[str, str, str | None]]:
    spec: Any = document.get("spec", {})
    if document["kind"] == "Deployment":
        pod = spec["template"]["spec"]
        yield "ServiceAccount", pod.get("serviceAccountName", "default"), None
        for container in containers(document):
            for source in container.get("envFrom", []):
                for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                    if field in source:
                        yield kind, source[field]["name"], None
            for entry in container.get("env", []):
                for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                    if field in entry.get("valueFrom", {}):
                        reference = entry["valueFrom"][field]
                        yield kind, reference["name"], reference["key"]
    if document["kind"] == "TriggerAuthentication":
        for target in spec.get("secretTargetRef", []):
            yield "Secret", target["name"], target["key"]
    if document["kind"] == "Ingress":
        for tls in spec.get("tls", []):
            yield "Secret", tls["secretName"], None


def check_pods(documents: list[Document]) -> Iterator[str]:
    """Confinement, and what the Functions host needs of a pod."""
    for deployment in _kinds(documents, "Deployment"):
        name, pod = identity(deployment), _pod(deployment)["spec"]
        security = pod.get("securityContext", {})
        if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
            yield f"{name} must run as a numbered user that is not root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name} must have the seccomp profile RuntimeDefault"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name} must not be given a token for the Kubernetes API"
        if pod.get("terminationGracePeriodSeconds", 30) < GRACE_S:
            yield f"{name} must be given {GRACE_S} s, in which the host ends by itself"
        if _pod(deployment)["metadata"].get("annotations", {}).get(STAY) != "false":
            yield f'{name} must have {STAY}: "false": a pod that is moved loses the unit that it runs'
        writable = {volume["name"] for volume in pod.get("volumes", []) if "emptyDir" in volume}
        settings = environment(deployment, documents)
        if not settings.get("AzureFunctionsWebHost__hostid"):
            yield f"{name} must set AzureFunctionsWebHost__hostid, or every pod has Functions keys of its own"
        if settings.get("FUNCTIONS_WORKER_PROCESS_COUNT") != "1":
            yield f"{name} must run one Python process, so that a pod runs one activity"
        disabled = [key for key in settings if re.fullmatch(r"AzureWebJobs\..+\.Disabled", key)]
        if disabled:
            yield f"{name} sets {disabled[0]}; every pod registers every function, or its messages fail"
        for container in containers(deployment):
            yield from _check_container(f"{name}/{container['name']}", container, writable)


def _check_container(name: str, container: Document, writable: set[str]) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name} must not allow privilege escalation"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{name} must have a read-only root file system"
    if security.get("capabilities", {}).get("drop") != ["ALL"] or security.get("capabilities", {}).get("add"):
        yield f"{name} must drop all capabilities and add none"
    if security.get("privileged"):
        yield f"{name} must not be privileged"
    mounts = {m["mountPath"] for m in container.get("volumeMounts", []) if m["name"] in writable}
    home = [entry.get("value") for entry in container.get("env", []) if entry["name"] == "HOME"]
    if "/tmp" not in mounts or home != ["/tmp"]:  # nosec B108
        yield f"{name} must have /tmp as an emptyDir and as its HOME, since nothing else is writable"
    for bound in ("requests", "limits"):
        if missing := {"cpu", "memory"} - container.get("resources", {}).get(bound, {}).keys():
            yield f"{name} has no {' and '.join(sorted(missing))} in its {bound}"
    threads = [
        e.get("valueFrom", {}) for e in container.get("env", []) if e["name"] == "MATCHCUT_ORT_THREADS"
    ]
    if [t.get("resourceFieldRef", {}).get("resource") for t in threads] != ["limits.cpu"]:
        yield f"{name} must take MATCHCUT_ORT_THREADS from its CPU limit"
    if not re.fullmatch(r"\d+", str(container.get("resources", {}).get("limits", {}).get("cpu", ""))):
        yield f"{name} must be limited to whole CPUs, since threads are whole"
    for probe in ("startupProbe", "livenessProbe"):
        if probe not in container:
            yield f"{name} has no {probe}"
    if _probed(container, "startupProbe") != HEALTH:
        yield f"{name} must be asked for {HEALTH} before it counts as started"
    if _probed(container, "livenessProbe") != PING:
        yield f"{name} must be asked for {PING} to count as alive: a restart brings no storage back"


def check_hostname(documents: list[Document], image: dict[str, str]) -> Iterator[str]:
    """The Functions host knows its own address; without one it refuses every durable client binding."""
    for deployment in _kinds(documents, "Deployment"):
        settings = image | environment(deployment, documents)
        port = settings.get("ASPNETCORE_URLS", "").rpartition(":")[2]
        if not re.fullmatch(rf"[A-Za-z0-9.-]+:{port}", settings.get("WEBSITE_HOSTNAME", "")):
            yield (
                f"{identity(deployment)}: WEBSITE_HOSTNAME is {settings.get('WEBSITE_HOSTNAME')}, and must be"
                f" localhost:{port}, without a scheme, or the host refuses every durable client"
            )


def check_memory(documents: list[Document], image: dict[str, str]) -> Iterator[str]:
    """A step meets its own limit before the pod meets its: that one kills the host too, and tells nobody."""
    for deployment in _kinds(documents, "Deployment"):
        settings = image | environment(deployment, documents)
        default = Settings.model_fields["max_activity_bytes"].default
        activity = int(settings.get("MATCHCUT_MAX_ACTIVITY_BYTES", default))
        needed = PROCESS_BYTES + HOST_BYTES + activity
        for container in containers(deployment):
            limit = str(container.get("resources", {}).get("limits", {}).get("memory", ""))
            if _bytes(limit) < needed:
                yield (
                    f"{identity(deployment)}/{container['name']}: the memory limit is {limit or 'not set'},"
                    f" and must hold {needed / GIB:.1f}Gi: models, host, and MATCHCUT_MAX_ACTIVITY_BYTES"
                )


def _bytes(quantity: str) -> float:
    """Of `4Gi`, `4096M` or `4294967296`; 0 of what is written otherwise."""
    read = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([KMGT]i)|([kMGT]))?", quantity)
    if read is None:
        return 0
    number, binary, decimal = read.groups()
    power = "kmgt".index((binary or decimal)[0].lower()) + 1 if binary or decimal else 0
    return float(number) * float((1024 if binary else 1000) ** power)
