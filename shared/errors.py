"""Every expected failure, with a stable code.

A code is part of the API: callers may branch on it, so codes are never renamed. `status` is the HTTP status
of a failure that is found before the answer 202; one that is found later becomes the job's error, with the
same code. `action` says what the caller can do.
"""

from __future__ import annotations

from typing import TypedDict


class ErrorRecord(TypedDict):
    """A failure as it crosses a function boundary and stands in end.json."""

    code: str
    message: str
    action: str
    retryable: bool


class MatchcutError(Exception):
    """An expected failure. Its message never contains a query string, a key or a token."""

    code = "internal"
    status = 500
    retryable = False
    action = "Try again; if it stays, send the job id to the operator."

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def record(self) -> ErrorRecord:
        return {
            "code": self.code,
            "message": self.message,
            "action": self.action,
            "retryable": self.retryable,
        }


class InvalidRequest(MatchcutError):
    code = "invalid_request"
    status = 400
    action = "Correct the named field; the schema is served at /api/openapi.json."


class UnknownField(InvalidRequest):
    code = "unknown_field"
    action = "Remove the field or correct its name; the schema is served at /api/openapi.json."


class BadUrl(InvalidRequest):
    code = "bad_url"
    action = "Send the https URL of one blob: https://<account>/<container>/<blob>[?<SAS>]."


class BadCallback(InvalidRequest):
    code = "bad_callback"
    action = "Send the https URL of your receiver: https://<host>/<path>[?<query>]."


class UnknownModel(InvalidRequest):
    code = "unknown_model"
    action = "Name models and profiles that this service has; /api/health lists them."


class HostNotAllowed(MatchcutError):
    code = "host_not_allowed"
    status = 403
    action = "Use a storage account on the allow-list, or ask the operator to add this one."


class CallbackNotAllowed(MatchcutError):
    code = "callback_not_allowed"
    status = 403
    action = "Use a receiver on the allow-list, or ask the operator to add this one, or send no callback."


class BlobNotFound(MatchcutError):
    code = "blob_not_found"
    status = 404
    action = "Upload the blob, or correct its URL."


class BlobAccessDenied(MatchcutError):
    code = "blob_access_denied"
    status = 403
    action = "Send a URL with a SAS that grants read, or grant the service's identity read access."


class VideoTooLarge(MatchcutError):
    code = "video_too_large"
    status = 413
    action = "Send a smaller file, or ask the operator to raise the limit."


class IdempotencyConflict(MatchcutError):
    code = "idempotency_conflict"
    status = 409
    action = "Use a new Idempotency-Key for another request."


class QueueFull(MatchcutError):
    code = "queue_full"
    status = 429
    retryable = True
    action = "Send it again when jobs have ended, or ask the operator to raise the limit."


class TooManyJobs(MatchcutError):
    code = "too_many_jobs"
    status = 429
    retryable = True
    action = "Send it again when some of your jobs have ended, or ask the operator to raise the limit."


class JobNotFound(MatchcutError):
    code = "job_not_found"
    status = 404
    action = "Check the id; POST /api/jobs starts a job."


class BatchNotFound(MatchcutError):
    code = "batch_not_found"
    status = 404
    action = "Check the id; POST /api/batches starts a batch."


class FileNotReady(MatchcutError):
    code = "file_not_found"
    status = 404
    action = "Ask for one of the names in the job's links, once the job has ended."


class NotAVideo(MatchcutError):
    code = "not_a_video"
    status = 422
    action = "Send mp4/mov, matroska/webm, mpegts, avi, mxf or ogg."


class NoVideoStream(MatchcutError):
    code = "no_video_stream"
    status = 422
    action = "Send a file with a moving picture; this one has none that decodes."


class VideoTooLong(MatchcutError):
    code = "video_too_long"
    status = 422
    action = "Send a shorter file, or ask the operator to raise the limit."


class CodecNotAllowed(MatchcutError):
    code = "codec_not_allowed"
    status = 422
    action = "Send H.264, HEVC, AV1, VP9, MPEG-2, ProRes or DNxHD, or ask the operator to allow this codec."


class PictureTooLarge(MatchcutError):
    code = "picture_too_large"
    status = 422
    action = "Send a smaller picture, or ask the operator to raise the limit."


class FrameRateTooHigh(MatchcutError):
    code = "frame_rate_too_high"
    status = 422
    action = "Send a file of a lower frame rate, or ask the operator to raise the limit."


class TooManyFrames(MatchcutError):
    code = "too_many_frames"
    status = 422
    action = "Send a shorter file, or ask the operator to raise the limit."


class TooManyStreams(MatchcutError):
    code = "too_many_streams"
    status = 422
    action = "Send a file with the picture and its sound only."


class TooDamaged(MatchcutError):
    code = "too_damaged"
    status = 422
    action = "Send an undamaged copy."


class TooCostly(MatchcutError):
    code = "too_costly"
    status = 422
    action = "Send an undamaged, ordinary encoding of the video, or ask the operator to raise the limit."


class VideoChanged(MatchcutError):
    code = "video_changed"
    status = 409
    action = "The blob was replaced while the job ran; POST it again."


class ModelRefused(MatchcutError):
    code = "model_refused"
    status = 500
    action = "Correct the model's folder: manifest, digest and golden sample must agree."


class StorageUnavailable(MatchcutError):
    code = "storage_unavailable"
    status = 503
    retryable = True
    action = "Try again in a minute."


class RecordUnreadable(MatchcutError):
    code = "record_unreadable"
    action = (
        "Send the id to the operator: the service cannot read one of its records. No other job is affected."
    )


class SourceTooSlow(MatchcutError):
    code = "source_too_slow"
    status = 503
    retryable = True
    action = "Try again later, or put the video where it can be read faster."


class Incomplete(MatchcutError):
    code = "incomplete"
    action = "Look at the gaps in result.json; retry the job, or send it without strict."


class NothingToRetry(MatchcutError):
    code = "nothing_to_retry"
    status = 409
    action = "Fetch the result; POST the video with other options for another cut."


class SegmentFailed(MatchcutError):
    code = "segment_failed"
    action = "The span is a declared gap; POST the job again to try it once more."


class WorkerKilled(MatchcutError):
    code = "worker_killed"
    action = "Look at the memory of the workers, or send a smaller video; then retry the job."


class Cancelled(MatchcutError):
    code = "cancelled"
    status = 409
    action = "POST the job again to start it anew."
