"""Check the deployment before a cluster sees it: `python -m infra.k8s.check`.

Renders the base and every overlay, validates each document against the Kubernetes schemas (strict:
an unknown field is a finding) and, where `--schemas` has them, against KEDA's custom resource
definitions, then holds the documents against host.json and against each other.
Exit status: 0 without findings, 1 with; each finding is one sentence.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from infra.k8s import concurrency, rules
from infra.k8s.image import image_environment
from infra.k8s.render import Document, RenderError, identity, render

ROOT = Path(__file__).resolve().parent.parent.parent
KUBERNETES = ("1.29", "1.37")
"""Oldest and newest version that the documents are validated against."""
_KEDA = "keda.sh"


def _strict(schema: Any) -> Any:
    """The structural schema with unknown fields refused, which a cluster would silently drop."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    # `properties` is a map of fields too, so only a schema of type object is meant.
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict) and not open_ended:
        closed["additionalProperties"] = False
    return closed


def load_definitions(folder: Path) -> dict[tuple[str, str], Any]:
    """(apiVersion, kind) -> strict schema, of every custom resource definition in the folder."""
    schemas: dict[tuple[str, str], Any] = {}
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
        for definition in yaml.safe_load_all(path.read_text()):
            spec = definition["spec"]
            for version in spec["versions"]:
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                schemas[key] = _strict(version["schema"]["openAPIV3Schema"])
    return schemas


def check_schemas(documents: list[Document], definitions: dict[tuple[str, str], Any]) -> Iterator[str]:
    """Findings of the schemas; a KEDA document without a definition at hand is passed over."""
    for document in documents:
        if document["apiVersion"].startswith(f"{_KEDA}/"):
            schema = definitions.get((document["apiVersion"], document["kind"]))
            errors = jsonschema.Draft202012Validator(schema).iter_errors(document) if schema else []
            yield from (f"{identity(document)}: {_sentence(error)}" for error in errors)
            continue
        found = (_kubernetes_finding(json.dumps(document), version) for version in KUBERNETES)
        if finding := next(filter(None, found), None):
            yield f"{identity(document)}: {finding}"


@cache
def _kubernetes_finding(document: str, version: str) -> str | None:
    """Pure, and most documents come in every kustomization, so each is validated once."""
    try:
        kubernetes_validate.validate(json.loads(document), version, strict=True)
    except jsonschema.ValidationError as error:
        return _sentence(error)
    except kubernetes_validate.SchemaNotFoundError:
        return f"no such kind in Kubernetes {version}"
    return None


def _sentence(error: Any) -> str:
    path = ".".join(str(step) for step in error.path)
    return f"{path + ': ' if path else ''}{' '.join(str(error.message).split())[:300]}"


def check(
    folder: Path,
    host: Document,
    image: dict[str, str],
    guide: str,
    definitions: dict[tuple[str, str], Any],
) -> Iterator[str]:
    """Every finding about one kustomization; `image` is what the image sets in the environment."""
    try:
        documents = render(folder)
    except RenderError as refused:
        yield str(refused)
        return
    if schema_findings := list(check_schemas(documents, definitions)):
        # The rules below read fields that a document of the wrong shape may not have.
        yield from schema_findings
        return
    try:
        yield from concurrency.check_scalers(documents, host)
        yield from rules.check_selectors(documents)
        yield from rules.check_exposure(documents)
        yield from rules.check_images(documents)
        yield from rules.check_references(documents, guide)
        yield from rules.check_pods(documents)
        yield from rules.check_hostname(documents, image)
        yield from rules.check_memory(documents, image)
    except KeyError as missing:
        yield f"a field that the rules read is missing: {missing.args[0]}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.k8s.check", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--schemas", type=Path, help="folder of KEDA's custom resource definitions")
    options = parser.parse_args(arguments)
    tree = options.root / "infra" / "k8s"
    definitions = load_definitions(options.schemas or ROOT.parent / "shared" / "schemas")
    host = json.loads((options.root / "host.json").read_text())
    image = image_environment((options.root / "infra" / "docker" / "Dockerfile").read_text())
    guide = (options.root / "infra" / "README.md").read_text()
    findings = [f"host.json: {finding}" for finding in concurrency.check_host(host)]
    folders = [tree / "base", *sorted(path.parent for path in tree.glob("overlays/*/kustomization.yaml"))]
    for folder in folders:
        name = folder.relative_to(tree).as_posix()
        findings += [f"{name}: {finding}" for finding in check(folder, host, image, guide, definitions)]
    print(*findings, sep="\n", end="\n" if findings else "")
    if not any(key[0].startswith(f"{_KEDA}/") for key in definitions):
        print("k8s-check: KEDA's definitions are not here, so its documents met only our own rules")
    versions = " and ".join(KUBERNETES)
    print(f"k8s-check: {len(folders)} kustomizations, Kubernetes {versions}, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
