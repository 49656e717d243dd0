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
    """The key of 24 to 64 bytes in `whsec_<base64>`, as Standard Webhooks 1.0.0 defines it. Raises
    ValueError."""
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
    """Each field is the variable MATCHCUT_<FIELD>; `storage` and `public_base_url` have a second name as
    well."""

    model_config = SettingsConfigDict(
        env_prefix="MATCHCUT_",
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # the input may be a secret
    )

    storage: str = Field(validation_alias=AliasChoices("MATCHCUT_STORAGE", "AzureWebJobsStorage"))
    """Connection string of the service's account, or its https URL, to use the managed identity."""
    container: str = "matchcut"
    source_hosts: Names = ()
    """Hosts of sources: `*.` matches subdomains, `:port` is needed where it is not 443. The service's own
    account is always allowed."""
    source_identity: bool = False
    """Read a source with the managed identity where its URL has no SAS, its host is on the list, and it is
    Azure Storage's. The service sends tokens to no other host (docs/security.md)."""
    source_look_up_s: float = Field(default=15, gt=0)
    """The longest that the look-up of a video may take in all, while its caller waits."""
    callback_hosts: Names = ()
    """Hosts of callbacks, in the notation of source_hosts; empty: callbacks are refused."""
    callback_secrets: Annotated[
        tuple[Annotated[SecretStr, AfterValidator(_is_secret)], ...], NoDecode, BeforeValidator(_split)
    ] = ()
    """Each `whsec_<base64>`. The service signs every callback with all of them, so that one can be
    replaced."""
    allowed_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)] = ()
    """Networks, such as 10.1.0.0/16, that sources and callbacks may use although they are not public."""
    ca_bundle: Path | None = None
    """PEM file of the authorities to trust for sources and callbacks, instead of the public ones."""
    public_base_url: str = Field(
        default="http://127.0.0.1:7071",
        validation_alias=AliasChoices("PUBLIC_BASE_URL", "MATCHCUT_PUBLIC_BASE_URL"),
    )
    models_dir: Path = ROOT / "models"
    models_container: str | None = None
    """A container on the service's own account with more models and profiles (docs/models.md)."""
    models_cache: Path = Path(tempfile.gettempdir()) / "matchcut-models"
    """Folder for models from that container; several processes may share it."""
    batch_jobs: int = 4
    """Jobs of batches that run at the same time."""
    tariff: Path | None = ROOT / "tariff.json"
    """File with the prices that the operator pays; empty for results without a price."""
    max_open_jobs: int = Field(default=5000, ge=0)
    """Most jobs that have not ended, including those of accepted batches; beyond it requests get 429. 0: no
    limit."""
    max_open_jobs_per_key: int = Field(default=2500, ge=0)
    """The same for one caller, identified by function key or, with easy_auth, by principal. 0: no limit."""
    easy_auth: bool = False
    """Take the caller from X-MS-CLIENT-PRINCIPAL-ID. Set it only where Easy Auth or an ingress sets that
    header and removes it from callers' requests."""
    retention_scores_days: int = Field(default=30, ge=0)
    """Days after which scores that no job used are removed. 0: never, here and in the next two."""
    retention_jobs_days: int = Field(default=90, ge=0)
    """Days from a job's end until its records and results, and its batch, are removed."""
    retention_history_days: int = Field(default=14, ge=0)
    """Days from the start of a durable instance until it is purged, if it has ended."""
    retention_dry_run: bool = False
    """Only log what retention would remove."""
    retention_schedule: str = RETENTION_SCHEDULE
    """NCRONTAB, in UTC, of retention. The host reads it when it indexes functions: see
    retention_schedule()."""
    segment_s: int = 60
    max_video_s: int = 4 * 3600
    max_video_bytes: int = 64 * 1024**3
    max_picture_pixels: int = 8192 * 4320
    """Most pixels of a picture; a larger one is not decoded at all."""
    max_streams: int = 64
    max_frames: int = 2_000_000
    """Four hours at 120 frames a second are 1,728,000 frames."""
    max_frame_rate: int = 240
    max_decode_errors: int = 5_000
    """Most packets that may fail to decode in one step."""
    video_codecs: Names = (
        "h264", "hevc", "av1", "vp8", "vp9", "theora", "mpeg1video", "mpeg2video", "mpeg4", "h263", "vc1",
        "prores", "dnxhd", "dvvideo", "jpeg2000", "mjpeg", "ffv1", "rawvideo", "v210",
    )  # fmt: skip
    """libav's names of codecs (docs/reliability.md gives the reasons for these)."""
    audio_codecs: Names = (
        "aac", "mp3", "mp2", "ac3", "eac3", "dts", "opus", "vorbis", "flac", "alac", "s302m",
        "amr_nb", "amr_wb", "adpcm_ms", "adpcm_ima_wav", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le",
        "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_alaw", "pcm_mulaw",
        "pcm_bluray",
    )  # fmt: skip
    max_activity_bytes: int = 2 * 1024**3
    """Memory that one activity may take beyond what its process had: see shared.steps.run_limited."""
    max_activity_cpu_s: int = 2 * 3600
    """Most CPU time of an activity: as much as host.json's functionTimeout, which is wall time."""
    max_activity_wall_s: int = 2 * 3600 - 300
    """Most wall time of an activity: less than functionTimeout, so that the activity fails with a code and
    its process survives."""
    max_activity_file_bytes: int = 2 * 1024**3
    """Size of the largest file that an activity may write."""
    ort_threads: int = 1

    @model_validator(mode="after")
    def _apart(self) -> Settings:
        if self.models_container == self.container:
            raise ValueError("models_container must not be the service's own container")
        return self


def retention_schedule() -> str:
    """Read from the environment alone: the host indexes functions before the other settings need to be
    there."""
    return os.environ.get("MATCHCUT_RETENTION_SCHEDULE") or RETENTION_SCHEDULE


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


PREPROCESSING = "2"
"""Version of decoding, resizing and the sample grid. Raise it when they change: older scores are then not
reused."""
