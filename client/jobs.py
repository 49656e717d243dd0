"""The commands' work on one job: request, wait, fetch, export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from client import view
from client.api import Api
from client.errors import ClientError, UsageError
from client.upload import file_to_upload, upload_to_account, upload_to_container
from shared.contracts import JobRequest, JobStatus, Result, State
from shared.timelines import FORMATS, write_timeline

RESULT_FILE = FORMATS["json"].file_name


def is_url(video: str) -> bool:
    return "://" in video


def job_request(fields: dict[str, Any], cut: dict[str, Any]) -> JobRequest:
    """A request with these fields and cut options, without the None and empty ones. Raises UsageError."""
    given, options = (
        {name: value for name, value in part.items() if value not in (None, "", [], {})}
        for part in (fields, cut)
    )
    try:
        return JobRequest.model_validate(given | ({"cut": options} if options else {}))
    except ValidationError as wrong:
        # Without the input, which may be the URL with its SAS.
        faults = wrong.errors(include_input=False, include_url=False, include_context=False)
        raise UsageError(
            "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in faults)
            + "."
        ) from None


def thresholds(pairs: Iterable[str]) -> dict[str, str]:
    """`shot=0.6` becomes the entry {"shot": "0.6"}; the request checks the value. Raises UsageError."""
    entries = {}
    for pair in pairs:
        label, equals, value = pair.partition("=")
        if not (label and equals and value):
            raise UsageError("--threshold takes label=value, such as shot=0.6.")
        entries[label] = value
    return entries


def video_url(video: str, upload_to: str | None, connection_string: str | None) -> str:
    """The video's URL; a local file is uploaded first. Raises ClientError.

    upload_to: the URL of a container with a SAS. connection_string: of a storage account.
    """
    if is_url(video):
        return video
    path = file_to_upload(Path(video))
    if not (upload_to or connection_string):
        raise UsageError(
            f"{path} is a local file: say where to upload it with --upload-to CONTAINER_URL_WITH_SAS, "
            "or set MATCHCUT_STORAGE to the connection string of a storage account."
        )
    with view.transfer(f"uploading {path.name}", path.stat().st_size) as on_bytes:
        if upload_to:
            return upload_to_container(path, upload_to, on_bytes)
        return upload_to_account(path, connection_string or "", on_bytes)


def wait_for(api: Api, job: str) -> JobStatus:
    """Show the job until it has ended, then what its cascade saw, its gaps, and a line if it has no edit.

    Returns the last status. Raises ClientError for Failed and Cancelled.
    """
    status = view.follow(api.follow(job))
    require_completed(status)
    if RESULT_FILE in status.links:
        result = parse_result(api.read(job, RESULT_FILE))
        for line in (*view.cascade_lines(result), *view.gap_lines(result), *view.no_edit_lines(result)):
            view.say(line)
    return status


def require_completed(status: JobStatus) -> None:
    """Raises ClientError for Failed and Cancelled, with the job's own message and what to do."""
    if status.state in (State.COMPLETED, State.COMPLETED_WITH_GAPS):
        return
    if status.error is not None:
        raise ClientError(f"{status.error.message} {status.error.action}")
    raise ClientError(f"Job {status.id} ended as {status.state.value}.")


def fetch_files(api: Api, status: JobStatus, folder: Path) -> list[Path]:
    """Download every file of a job that has ended; returns their paths. The folder is made if absent.

    Raises ClientError where the job has not ended or left no files, or the folder cannot be written.
    """
    if not status.state.ended:
        raise ClientError(f"Job {status.id} has not ended yet ({status.state.value}); watch it first.")
    if not status.links:
        require_completed(status)
        raise ClientError(f"Job {status.id} left no files.")
    writable(folder)
    return [api.download(status.id, name, folder) for name in sorted(status.links)]


def default_folder(name: str | None, job: str) -> Path:
    return Path("out") / (f"{Path(name).stem[:60]}-{job}" if name else job)


def writable(folder: Path) -> Path:
    """The folder itself, made if absent. Raises ClientError where no file can be written into it."""
    if folder.is_file():
        raise ClientError(f"{folder} is a file, not a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return folder
    except OSError as bad:
        raise ClientError(f"The folder {folder} cannot be written: {bad.strerror}.") from None


def parse_result(data: bytes) -> Result:
    """The result in a result.json. Raises ClientError."""
    try:
        return Result.model_validate_json(data)
    except ValidationError as wrong:
        first = wrong.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClientError(f"This is no result.json of matchcut ({where}: {first['msg']}).") from None


def export(source: Path, format: str) -> bytes:
    """The bytes of a timeline, from a result.json alone. Raises UsageError for an unknown format, ClientError
    for a file that cannot be read or contradicts itself."""
    if format not in FORMATS:
        raise UsageError(f"There is no format {format!r}; there are {', '.join(FORMATS)}.")
    try:
        data = source.read_bytes()
    except OSError as bad:
        raise ClientError(f"{source} cannot be read: {bad.strerror}.") from None
    try:
        return write_timeline(parse_result(data), format)
    except ValueError as contradiction:
        raise ClientError(f"{source} contradicts itself: {contradiction}.") from None
