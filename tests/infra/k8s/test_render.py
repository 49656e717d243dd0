"""The renderer gives what kustomize gives, and refuses what it does not know."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.k8s.check import ROOT
from infra.k8s.render import RenderError, identity, render

TREE = ROOT / "infra" / "k8s"
FOLDERS = [TREE / "base", *sorted(path.parent for path in TREE.glob("overlays/*/kustomization.yaml"))]

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {kept: &value a, gone: *value}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: &labels {app: app}}
spec:
  selector: {matchLabels: *labels}
  template:
    metadata: {labels: *labels}
    spec:
      initContainers: [{name: init, image: "app:0"}]
      containers: [{name: app, image: app, env: [{name: A, value: a}]}, {name: side, image: "side:2"}]
"""
SCALER = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: app}
spec: {triggers: [{type: cpu}, {type: memory}], minReplicaCount: 0}
"""
KUSTOMIZATION = """
namespace: space
labels: [{pairs: {part: whole}, includeTemplates: true}]
images: [{name: app, newName: registry.example.com/app, newTag: "1.0"}]
resources: [config.yaml, deployment.yaml, scaler.yaml]
patches:
  - path: merge.yaml
  - {path: add.yaml, target: {kind: Deployment}}
"""
MERGE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {gone: null, new: b}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: app}
spec: {triggers: [{type: mssql}]}
"""
ADD = """
- {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: B, value: b}}
- {op: add, path: /metadata/annotations, value: {a~b: c}}
- {op: add, path: /metadata/annotations/d~1e, value: f}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kustomization with everything that is supported."""
    names = ("config", "deployment", "scaler", "kustomization", "merge", "add")
    for name, text in zip(names, (CONFIG, DEPLOYMENT, SCALER, KUSTOMIZATION, MERGE, ADD), strict=True):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def _kubectl(folder: Path) -> list[dict[str, object]]:
    command = ["kubectl", "kustomize", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(ran.stdout))


def _knows_labels() -> bool:
    """kustomize learnt `labels` in 4.1; kubectl before 1.22 embeds an older one."""
    if not shutil.which("kubectl"):
        return False
    command = ["kubectl", "version", "--client", "--output=yaml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    kustomize = str((yaml.safe_load(answer) or {}).get("kustomizeVersion", "v0"))
    return int(kustomize.lstrip("v").split(".")[0]) >= 5


needs_kubectl = pytest.mark.skipif(not _knows_labels(), reason="no kubectl with kustomize 5 on PATH")


@needs_kubectl
@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_the_deployment_renders_as_kubectl_renders_it(path: Path) -> None:
    expected = {identity(document): document for document in _kubectl(path)}
    assert expected == {identity(document): document for document in render(path)}


@needs_kubectl
def test_every_supported_field_renders_as_kubectl_renders_it(folder: Path) -> None:
    expected = {identity(document): document for document in _kubectl(folder)}
    assert expected == {identity(document): document for document in render(folder)}


def test_every_supported_field_does_what_it_says(folder: Path) -> None:
    config, deployment, scaler = render(folder)
    assert {"kept": "a", "new": "b"} == config["data"]
    assert {"name": "settings", "namespace": "space", "labels": {"part": "whole"}} == config["metadata"]
    assert {"triggers": [{"type": "mssql"}], "minReplicaCount": 0} == scaler["spec"]
    template = deployment["spec"]["template"]
    assert {"app": "app", "part": "whole"} == template["metadata"]["labels"]
    assert {"app": "app"} == deployment["spec"]["selector"]["matchLabels"]
    assert {"a~b": "c", "d/e": "f"} == deployment["metadata"]["annotations"]
    images = [c["image"] for c in template["spec"]["initContainers"] + template["spec"]["containers"]]
    assert ["registry.example.com/app:1.0", "registry.example.com/app:1.0", "side:2"] == images
    assert ["A", "B"] == [entry["name"] for entry in template["spec"]["containers"][0]["env"]]


@pytest.mark.parametrize(
    ("file", "old", "new", "refusal"),
    [
        ("kustomization", "namespace: space", "namespace: space\nnameSuffix: -x", "uses nameSuffix"),
        ("kustomization", "includeTemplates", "includeSelectors", "labels uses includeSelectors"),
        ("kustomization", "newTag", "tagSuffix", "images uses tagSuffix"),
        ("kustomization", "config.yaml", "missing.yaml", "missing.yaml does not exist"),
        ("kustomization", "path: merge.yaml", "path: missing.yaml", "missing.yaml does not exist"),
        ("kustomization", "kind: Deployment", "labelSelector: a=b", "uses labelSelector"),
        ("kustomization", "kind: Deployment", "kind: Service", "its target must exist"),
        ("kustomization", "config.yaml,", "config.yaml, config.yaml,", "ConfigMap/settings twice"),
        ("merge", "name: settings", "name: other", "changes ConfigMap/other, which does not exist"),
        ("merge", "data: {", "data: {$patch: delete, ", r"uses \$patch"),
        ("merge", "data: {", "data: {list: [], ", "merges the list list"),
        ("add", "op: add", "op: remove", "uses remove"),
        ("add", "env/-", "env/0", "only appends"),
        ("add", "containers/0", "containers/7", "does not have"),
        ("config", "kind: ConfigMap", "", "without apiVersion, kind or name"),
        ("config", "metadata: {", "metadata: [", "is not YAML"),
        ("config", "apiVersion: v1", "- a\n---\napiVersion: v1", "not an object"),
        ("kustomization", "config.yaml", "../", "has no kustomization.yaml"),
    ],
)
def test_what_the_renderer_does_not_know_is_refused(
    folder: Path, file: str, old: str, new: str, refusal: str
) -> None:
    path = folder / f"{file}.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RenderError, match=refusal):
        render(folder)
