"""Settings from the environment, read once per process."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

VERSION = "0.1.0"
ROOT = Path(__file__).resolve().parent.parent
RETENTION_SCHEDULE = "0 30 3 * * *"


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def webhook_key(secret: str) -> bytes:
    """The key in `whsec_<base64>`: 24 to 64 bytes, as Standard Webhooks has it. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("a callback secret is whsec_ and 24 to 64 bytes in base64")
    return key


def _is_secret(value: SecretStr) -> SecretStr:
    webhook_key(value.get_secret_value())
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """One field, one variable: MATCHCUT_<FIELD>, but for the two that Functions names itself."""

    model_config = SettingsConfigDict(
        env_prefix="MATCHCUT_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # which may be a secret
    )

    storage: str = Field(validation_alias=AliasChoices("MATCHCUT_STORAGE", "AzureWebJobsStorage"))
    """Connection string, or the https URL of the account (then with managed identity)."""
    container: str = "matchcut"
    source_hosts: Names = ()
    """Hosts a source may lie on, `*.` for subdomains, `:port` where it is not 443; the service's own
    account always may."""
    source_identity: bool = False
    """Read allow-listed sources on other accounts of Azure Storage, where the URL has no SAS, with managed
    identity. No other host is shown a token (docs/security.md)."""
    source_look_up_s: float = Field(default=15, gt=0)
    """How long looking a video up may take, all in all, while its caller waits."""
    callback_hosts: Names = ()
    """Hosts a callback may go to, written as source_hosts; none: callbacks are refused."""
    callback_secrets: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_is_secret)], ...], NoDecode, BeforeValidator(_split)
    ] = ()
    """`whsec_<base64>`: every callback is signed with each of them, so that one can be replaced."""
    allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)] = ()
    """Networks, as 10.1.0.0/16, in which sources and callbacks may lie although they are not public."""
    ca_bundle: Path | None = None
    """PEM file of the authorities that sign for sources and callbacks, instead of the public ones."""
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
    max_open_jobs: int = Field(default=5000, ge=0)
    """Jobs that have not ended, those of accepted batches too; more are refused with 429. 0: no limit."""
    max_open_jobs_per_key: int = Field(default=2500, ge=0)
    """The same of one caller, known by function key or, with easy_auth, by who signed in. 0: no limit."""
    easy_auth: bool = False
    """X-MS-CLIENT-PRINCIPAL-ID names the caller. Only where Easy Auth or an ingress sets it, and removes
    what callers send under that name."""
    retention_scores_days: int = Field(default=30, ge=0)
    """Scores that no job used for so long are removed. 0: never, here and below."""
    retention_jobs_days: int = Field(default=90, ge=0)
    """Records and results of jobs, and batches, are removed so long after the job's end."""
    retention_history_days: int = Field(default=14, ge=0)
    """Durable instances that are over are purged so long after they began."""
    retention_dry_run: bool = False
    """Only say what would be removed."""
    retention_schedule: str = RETENTION_SCHEDULE
    """NCRONTAB, in UTC: when it is removed. Read when the functions are indexed: see retention_schedule()."""
    segment_s: int = 60
    max_video_s: int = 4 * 3600
    max_video_bytes: int = 64 * 1024**3
    max_picture_pixels: int = 8192 * 4320
    """Of one picture; whatever is larger is not even decoded."""
    max_streams: int = 64
    max_frames: int = 2_000_000
    """Four hours at 120 a second have 1,728,000."""
    max_frame_rate: int = 240
    max_decode_errors: int = 5_000
    """Packets that do not decode, in one step."""
    video_codecs: Names = (
        "h264", "hevc", "av1", "vp8", "vp9", "theora", "mpeg1video", "mpeg2video", "mpeg4", "h263", "vc1",
        "prores", "dnxhd", "dvvideo", "jpeg2000", "mjpeg", "ffv1", "rawvideo", "v210",
    )  # fmt: skip
    """By libav's names (docs/reliability.md says why these)."""
    audio_codecs: Names = (
        "aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac", "alac", "s302m",
        "amr_nb", "amr_wb", "adpcm_ms", "adpcm_ima_wav", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le",
        "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_alaw", "pcm_mulaw",
        "pcm_bluray",
    )  # fmt: skip
    max_activity_bytes: int = 2 * 1024**3
    """Memory that one activity may take beyond what its process had: see shared.steps.within."""
    max_activity_cpu_s: int = 2 * 3600
    """CPU time of one activity: what host.json gives a function of wall time."""
    max_activity_wall_s: int = 2 * 3600 - 300
    """Wall time of one activity: less than host.json gives a function (functionTimeout), so that it ends with
    a code of its own and its process goes on."""
    max_activity_file_bytes: int = 2 * 1024**3
    """The largest file that one activity may write."""
    ort_threads: int = 1

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        if self.models_container == self.container:
            raise ValueError("models_container must not be the service's own container")
        return self


def retention_schedule() -> str:
    """Of the environment alone: functions are indexed before anything else must be set."""
    return os.environ.get("MATCHCUT_RETENTION_SCHEDULE") or RETENTION_SCHEDULE


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


PREPROCESSING = "2"
"""Raise it when decoding, resizing or the sample grid changes: old scores are not reused then."""
