"""`make fuzz`: schemathesis against the service's own OpenAPI document, stateful.

python -m tests.e2e.fuzz [--examples 500] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from infra.local.embedded import EmbeddedHost
from tests.support.clips import make_clip
from tests.support.service import Service

ROOT = Path(__file__).resolve().parents[2]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ensure_resource_availability",
)


_NO_DATABASE = ["--generation-database", "none"]


def fuzz(
    service: Service, examples: int, seed: int | None, limit_s: float
) -> subprocess.CompletedProcess[str]:
    """Run schemathesis; its exit code is 0 where nothing was found. Without a seed the requests are always
    the same."""
    video = service.upload(make_clip(5), "fuzz.mp4")
    command = [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
        "run", f"{service.host.base_url}/api/openapi.json",
        "--checks", ",".join(CHECKS), "--max-examples", str(examples),
        *(["--generation-deterministic"] if seed is None else ["--seed", str(seed), *_NO_DATABASE]),
        "--generation-with-security-parameters", "false",
        "--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure",
        "--request-timeout", "30", "--output-sanitize", "false",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.support.fuzz_hooks",
        "MATCHCUT_FUZZ_VIDEO": video,
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with EmbeddedHost(workers=2) as host:
        done = fuzz(Service(host), chosen.examples, chosen.seed, limit_s=3600)
    print(done.stdout, done.stderr, sep="\n")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
