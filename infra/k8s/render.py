"""Render a kustomization: the subset of kustomize that this folder uses, and a refusal of the rest.

`kubectl kustomize` needs kubectl, which the project does not install; a test compares the two,
document by document, wherever it is there. What is supported: `resources` (files and folders),
`namespace`, `labels` (metadata and templates, never selectors), `images` and `patches` (strategic
merge without lists for built-in kinds, since those need merge keys; JSON 6902 `add` for them).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

_FIELDS = {"apiVersion", "kind", "resources", "namespace", "labels", "images", "patches"}
_CLUSTER_SCOPED = {"Namespace"}
_CUSTOM = {"keda.sh"}
"""API groups whose lists a merge replaces, because kustomize knows no merge keys for them."""


class RenderError(Exception):
    """The kustomization uses something that this renderer does not know, or is wrong."""


def identity(document: Document) -> str:
    """`Deployment/matchcut-api`: unique within one rendering, since it has one namespace."""
    return f"{document['kind']}/{document['metadata']['name']}"


def load(path: Path) -> list[Document]:
    """The documents of a YAML file. Raises RenderError where it is not YAML or not objects."""
    try:
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except yaml.YAMLError as bad:
        raise RenderError(f"{path.name} is not YAML: {bad}") from bad
    for document in documents:
        if not isinstance(document, dict):
            raise RenderError(f"{path.name} holds a document that is not an object")
    # An anchor makes one object of many places; by way of JSON each place gets its own.
    return [json.loads(json.dumps(document)) for document in documents]


def render(folder: Path) -> list[Document]:
    """The documents of a kustomization, in the order of its resources.

    Raises RenderError for a field it does not know, a target it does not find, a name given twice.
    """
    path = folder / "kustomization.yaml"
    if not path.exists():
        raise RenderError(f"{folder.name} has no kustomization.yaml")
    (spec,) = load(path)
    _only(spec, _FIELDS, f"{folder.name}/kustomization.yaml")
    documents: list[Document] = []
    for resource in spec.get("resources", []):
        where = folder / resource
        documents += render(where.resolve()) if where.is_dir() else _resource(where)
    names = [identity(document) for document in documents]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RenderError(f"{folder.name} has {', '.join(twice)} twice")
    for patch in spec.get("patches", []):
        _patch(documents, patch, folder)
    for document in documents:
        _transform(document, spec)
    return documents


def _resource(path: Path) -> list[Document]:
    if not path.exists():
        raise RenderError(f"resource {path.name} does not exist")
    documents = load(path)
    for document in documents:
        if (
            not document.get("apiVersion")
            or not document.get("kind")
            or "name" not in document.get("metadata", {})
        ):
            raise RenderError(f"{path.name} holds a document without apiVersion, kind or name")
    return documents


def _only(mapping: Document, known: set[str], where: str) -> None:
    if unknown := sorted(mapping.keys() - known):
        raise RenderError(f"{where} uses {', '.join(unknown)}, which this renderer does not know")


# ---------------------------------------------------------------- patches


def _patch(documents: list[Document], patch: Document, folder: Path) -> None:
    _only(patch, {"path", "target"}, f"a patch of {folder.name}")
    path = folder / patch["path"]
    if not path.exists():
        raise RenderError(f"patch {path.name} does not exist")
    content = list(yaml.safe_load_all(path.read_text()))
    if target := patch.get("target"):
        _only(target, {"kind", "name"}, f"the target of {path.name}")
        found = [
            document
            for document in documents
            if document["kind"] == target["kind"]
            and target.get("name", document["metadata"]["name"]) == document["metadata"]["name"]
        ]
        if not found or len(content) != 1 or not isinstance(content[0], list):
            raise RenderError(f"patch {path.name} must be one list of operations, and its target must exist")
        for document in found:
            for operation in content[0]:
                _add(document, operation, path.name)
        return
    for part in content:
        matching = [document for document in documents if identity(document) == identity(part)]
        if not matching:
            raise RenderError(f"patch {path.name} changes {identity(part)}, which does not exist")
        custom = part["apiVersion"].split("/")[0] in _CUSTOM
        _merge(matching[0], part, path.name, lists=custom)


def _merge(into: Document, part: Document, name: str, *, lists: bool) -> None:
    """Strategic merge without lists for built-in kinds; JSON merge (RFC 7386) for custom ones."""
    for key, value in part.items():
        if key.startswith("$"):
            raise RenderError(f"patch {name} uses {key}, which this renderer does not know")
        if isinstance(value, list) and not lists:
            raise RenderError(f"patch {name} merges the list {key}; write it as JSON 6902 operations")
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value, name, lists=lists)
        else:
            into[key] = value


def _add(document: Document, operation: Document, name: str) -> None:
    """JSON 6902 `add` (RFC 6902, 4.1), to an object or to the end of a list."""
    _only(operation, {"op", "path", "value"}, f"an operation of {name}")
    if operation["op"] != "add":
        raise RenderError(f"patch {name} uses {operation['op']}, which this renderer does not know")
    *way, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    place: Any = document
    try:
        for step in way:
            place = place[int(step)] if isinstance(place, list) else place[step]
    except (KeyError, IndexError, ValueError) as missing:
        raise RenderError(
            f"patch {name} adds at {operation['path']}, which {identity(document)} does not have"
        ) from missing
    value = copy.deepcopy(operation["value"])
    if isinstance(place, list):
        if last != "-":
            raise RenderError(f"patch {name} inserts into a list; this renderer only appends (-)")
        place.append(value)
    else:
        place[last] = value


# ---------------------------------------------------------------- transformers


def _transform(document: Document, spec: Document) -> None:
    metadata = document["metadata"]
    if namespace := spec.get("namespace"):
        if document["kind"] == "Namespace":
            metadata["name"] = namespace
        elif document["kind"] not in _CLUSTER_SCOPED:
            metadata["namespace"] = namespace
    template = document.get("spec", {}).get("template")
    for entry in spec.get("labels", []):
        _only(entry, {"pairs", "includeTemplates"}, "labels")
        metadata.setdefault("labels", {}).update(entry["pairs"])
        if template and entry.get("includeTemplates"):
            template["metadata"].setdefault("labels", {}).update(entry["pairs"])
    for image in spec.get("images", []):
        _only(image, {"name", "newName", "newTag", "digest"}, "images")
        for container in containers(document):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = _image(image, name, tag)


def _image(image: Document, name: str, tag: str) -> str:
    name = image.get("newName", name)
    if digest := image.get("digest"):
        return f"{name}@{digest}"
    tag = str(image.get("newTag", tag))
    return f"{name}:{tag}" if tag else name


def containers(document: Document) -> list[Document]:
    """The containers of a workload's pods, init containers too; none for other kinds."""
    pod = document.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", []), *pod.get("containers", [])]
