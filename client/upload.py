"""Upload a local file as a blob, with a URL that the service can read."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
    ExponentialRetry,
    generate_blob_sas,
)

from client.errors import ClientError, UsageError

CONTAINER = "videos"
READ_FOR = timedelta(hours=12)
"""Lifetime of a SAS: a working day, as long as a job may wait in the queue and read."""
OnBytes = Callable[[int], None]
"""Called with the number of bytes uploaded so far."""


@dataclass(frozen=True)
class Content:
    """A file's length and digests."""

    length_bytes: int
    sha256: str
    md5: bytes


def file_to_upload(path: Path) -> Path:
    """The path itself. Raises ClientError where it is no file, or an empty or unreadable one."""
    if path.is_dir():
        raise ClientError(f"{path} is a folder, not a video file.")
    if not path.is_file():
        raise ClientError(f"{path} is not there.")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise ClientError(f"{path} is empty.")
    except OSError as bad:
        raise ClientError(f"{path} cannot be read: {bad.strerror}.") from None
    return path


def content_of(path: Path) -> Content:
    """Read a file once, for its length and both digests. Raises OSError."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    length_bytes = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            md5.update(block)
            length_bytes += len(block)
    return Content(length_bytes, sha256.hexdigest(), md5.digest())


def blob_name(path: Path, content: Content) -> str:
    """The blob's name, from the file's name and content: the same file gives the same URL, and so the same
    job."""
    stem = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:60] or "video"
    return f"{stem}-{content.sha256[:16]}{re.sub(r'[^a-z0-9.]', '', path.suffix.lower())}"


def upload_to_container(path: Path, container_url: str, on_bytes: OnBytes = lambda done: None) -> str:
    """Upload into a container, by its URL with a SAS. Returns the blob's URL, with that SAS if it grants
    read.

    Raises UsageError for a URL without a SAS, ClientError where the upload fails.
    """
    secret = urlsplit(container_url).query
    if not secret:
        raise UsageError("--upload-to needs the URL of a container with a SAS that grants create and write.")
    with _sdk_errors_in_a_sentence(container_url):
        container = ContainerClient.from_container_url(container_url, retry_policy=_retry())
        with container:
            blob = _put(container, file_to_upload(path), on_bytes)
            url = blob.url.partition("?")[0]
    return f"{url}?{secret}" if "r" in parse_qs(secret).get("sp", [""])[0] else url


def upload_to_account(path: Path, connection_string: str, on_bytes: OnBytes = lambda done: None) -> str:
    """Upload into the container `videos` of an account. Returns the blob's URL, with a SAS that reads only
    it.

    Raises UsageError for a connection string without an account key, ClientError where the upload fails.
    """
    try:
        service = BlobServiceClient.from_connection_string(connection_string, retry_policy=_retry())
        account_key = service.credential.account_key
    except (ValueError, AttributeError):
        # From None: the SDK's message may repeat the string.
        raise UsageError("MATCHCUT_STORAGE must be a connection string with an account key.") from None
    with _sdk_errors_in_a_sentence(service.url), service:
        container = service.get_container_client(CONTAINER)
        with suppress(ResourceExistsError):
            container.create_container()
        blob = _put(container, file_to_upload(path), on_bytes)
        sas = generate_blob_sas(
            account_name=str(service.account_name),
            container_name=CONTAINER,
            blob_name=blob.blob_name,
            account_key=account_key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + READ_FOR,
        )
    return f"{blob.url.partition('?')[0]}?{sas}"


def _put(container: ContainerClient, path: Path, on_bytes: OnBytes) -> BlobClient:
    content = content_of(path)
    blob = container.get_blob_client(blob_name(path, content))
    if _is_uploaded(blob, content):
        on_bytes(content.length_bytes)
        return blob
    settings = ContentSettings(
        content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        content_md5=bytearray(content.md5),
    )
    with path.open("rb") as file:
        blob.upload_blob(
            file,
            length=content.length_bytes,
            overwrite=True,
            content_settings=settings,
            max_concurrency=2,
            progress_hook=lambda done, total: on_bytes(done),
        )
    return blob


def _is_uploaded(blob: BlobClient, content: Content) -> bool:
    """Whether the blob already has this content."""
    try:
        found = blob.get_blob_properties()
    except ResourceNotFoundError:
        return False
    except HttpResponseError as refused:
        # A SAS that only writes cannot read properties; the blob is then written again.
        if refused.status_code == 403:
            return False
        raise
    md5 = bytes(found.content_settings.content_md5 or b"")
    return (content.length_bytes, content.md5) == (found.size, md5)


def _retry() -> ExponentialRetry:
    """Retries for about 15 s in all. The SDK's own default waits minutes for a port where nothing listens."""
    return ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=3, random_jitter_range=1)


@contextmanager
def _sdk_errors_in_a_sentence(url: str) -> Iterator[None]:
    """Turn the SDK's errors into ClientErrors of one sentence, without the URL's query."""
    where = url.partition("?")[0]
    try:
        yield
    except HttpResponseError as refused:
        # The SDK gives an enum, or a plain text for a code that it does not know.
        code = getattr(refused, "error_code", None) or refused.reason
        code = getattr(code, "value", code)
        raise ClientError(f"{where} refused the upload: {refused.status_code} {code}.") from None
    except (AzureError, ValueError) as failed:
        reason = str(failed).partition("\n")[0]
        raise ClientError(f"The upload to {where} failed: {reason}.") from None
