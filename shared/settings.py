"""Settings from the environment, read once per process (floor 1)."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


class Settings(BaseSettings):
    """One field, one variable: MATCHCUT_<FIELD>, but for the two that Functions names itself."""

    model_config = SettingsConfigDict(
        env_prefix="MATCHCUT_", frozen=True, extra="ignore", populate_by_name=True
    )

    storage: str = Field(validation_alias=AliasChoices("MATCHCUT_STORAGE", "AzureWebJobsStorage"))
    """Connection string, or the https URL of the account (then with managed identity)."""
    container: str = "matchcut"
    source_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """Hosts a source may lie on, `*.` for subdomains; the service's own account always may."""
    source_identity: bool = False
    """Read allow-listed sources on other accounts, where the URL has no SAS, with managed identity."""
    public_base_url: str = Field(
        default="http://127.0.0.1:7071",
        validation_alias=AliasChoices("PUBLIC_BASE_URL", "MATCHCUT_PUBLIC_BASE_URL"),
    )
    models_dir: Path = ROOT / "models"
    models_container: str | None = None
    """A container on the service's own account with further models and profiles (docs/models.md)."""
    models_cache: Path = Path(tempfile.gettempdir()) / "matchcut-models"
    """Where models from that container are kept; several processes may share it."""
    batch_jobs: int = 4
    """Jobs of batches that run at the same time."""
    tariff: Path | None = ROOT / "tariff.json"
    """What the operator pays; empty for results without a price."""
    segment_s: int = 60
    max_video_s: int = 4 * 3600
    max_video_bytes: int = 64 * 1024**3
    ort_threads: int = 1

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        if self.models_container == self.container:
            raise ValueError("models_container must not be the service's own container")
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]
