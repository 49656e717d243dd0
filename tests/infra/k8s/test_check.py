"""The deployment passes its check, and every rule of the check finds what it is for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from infra.k8s.check import ROOT, main

DEFINITIONS = ROOT.parent / "shared" / "schemas"

SMALL_DEFINITION = """
spec:
  group: keda.sh
  names: {kind: ScaledObject}
  versions:
    - name: v1alpha1
      schema:
        openAPIV3Schema:
          type: object
          properties:
            apiVersion: {type: string}
            kind: {type: string}
            metadata: {type: object}
            spec:
              type: object
              required: [scaleTargetRef, triggers]
              properties:
                advanced: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {}}
                cooldownPeriod: {type: integer}
                maxReplicaCount: {type: integer, minimum: 1}
                minReplicaCount: {type: integer}
                pollingInterval: {type: integer}
                scaleTargetRef: {type: object}
                triggers: {type: array, minItems: 1}
"""

MUTATIONS = yaml.safe_load((Path(__file__).parent / "mutations.yaml").read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the check reads, to be broken."""
    shutil.copytree(ROOT / "infra" / "k8s", tmp_path / "infra" / "k8s")
    shutil.copytree(ROOT / "infra" / "docker", tmp_path / "infra" / "docker")
    shutil.copy(ROOT / "infra" / "README.md", tmp_path / "infra")
    shutil.copy(ROOT / "host.json", tmp_path)
    return tmp_path


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} no longer has {old!r}"
    path.write_text(text.replace(old, new))


def _check(checkout: Path, schemas: Path | None = None) -> int:
    return main(["--root", str(checkout), "--schemas", str(schemas or checkout / "none")])


def test_the_deployment_as_it_stands_has_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main([])
    assert "2 kustomizations" in capsys.readouterr().out


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation["finding"])
def test_a_broken_deployment_is_found(
    checkout: Path, capsys: pytest.CaptureFixture[str], mutation: dict[str, str]
) -> None:
    _replace(checkout / mutation["file"], mutation["old"], mutation["new"])
    assert 1 == _check(checkout)
    assert mutation["finding"] in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("cooldownPeriod: 300", "coolDownPeriod: 300", "'coolDownPeriod' was unexpected"),
        ("maxReplicaCount: 10", "maxReplicaCount: 0", "less than the minimum"),
        ("  triggers:\n", "  trigger:\n", "'triggers' is a required property"),
    ],
)
def test_a_typo_in_a_keda_document_is_found_by_its_definition(
    checkout: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, finding: str
) -> None:
    schemas = [checkout / "schemas"] + ([DEFINITIONS] if DEFINITIONS.is_dir() else [])
    schemas[0].mkdir()
    (schemas[0] / "scaledobjects.yaml").write_text(SMALL_DEFINITION)
    for folder in schemas:
        assert 0 == main(["--schemas", str(folder)])
    _replace(checkout / "infra/k8s/base/scaling.yaml", old, new)
    capsys.readouterr()
    for folder in schemas:
        assert 1 == _check(checkout, folder)
        assert finding in capsys.readouterr().out


def test_keda_documents_without_definitions_are_said_to_be_unvalidated(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == _check(checkout)
    assert "KEDA's definitions are not here" in capsys.readouterr().out
