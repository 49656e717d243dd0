"""The commands, as thin bindings; the modules beside this one do the work."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from client import batches, view
from client.api import DEFAULT_API, DEFAULT_PATIENCE_S, Api
from client.errors import ClientError, UsageError
from client.jobs import (
    default_folder,
    export,
    fetch_files,
    is_url,
    job_request,
    thresholds,
    video_url,
    wait_for,
    writable,
)
from shared.contracts import JobStatus

MODELS = Path(__file__).resolve().parent.parent / "models"


class Commands(TyperGroup):
    """Ends every failure with one line on stderr that holds no secret."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as failure:
            view.complain(failure.sentence)
            raise typer.Exit(failure.exit_code) from None
        except typer.TyperException as wrong:
            # The message repeats the mistyped command line, which may hold a URL with its SAS.
            wrong.message = view.printable(wrong.message)
            raise
        except (typer.Exit, typer.Abort):
            raise
        except Exception as bug:
            view.note("".join(traceback.format_exception(bug)))
            view.complain(f"this is a defect in the client: {type(bug).__name__}: {bug}")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    help="Send a match to matchcut and get its edit decision list. "
    "The service's function key, where it asks for one, is read from MATCHCUT_KEY.",
)


models = typer.Typer(no_args_is_help=True, help="What a data scientist needs before a model is shipped.")
app.add_typer(models, name="models")
batch = typer.Typer(no_args_is_help=True, help="Many videos at once.")
app.add_typer(batch, name="batch")


@app.callback()
def root() -> None:
    pass


def _whole_number(option: str, text: str, allowed: range, in_words: str) -> int | None:
    """The number; None for an empty text, which `make` passes for a variable that was not set."""
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) not in allowed:
        raise UsageError(f"{option} takes a whole number, {in_words}.")
    return int(text)


def _option(metavar: str, help: str) -> Any:
    return typer.Option(metavar=metavar, help=help)


Text = str | None
Many = list[str] | None
ApiUrl = Annotated[str, typer.Option("--api", envvar="MATCHCUT_API", help="Address of the service.")]
JobId = Annotated[str, typer.Argument(help="The job's id, as submit prints it.")]
BatchId = Annotated[str, typer.Argument(help="The batch's id, as batch submit prints it.")]
Patience = Annotated[float, typer.Option(min=0, help="Seconds to try again when the connection is lost.")]
OutFolder = Annotated[Path | None, typer.Option("--out", help="Folder for the files; made if absent.")]


def _api(url: str, patience_s: float = DEFAULT_PATIENCE_S) -> Api:
    return Api(url or DEFAULT_API, os.environ.get("MATCHCUT_KEY"), patience_s, view.note)


def _wait(api: Api, job: str) -> JobStatus:
    try:
        return wait_for(api, job)
    except KeyboardInterrupt:
        view.note(f"The job goes on without its watcher: python -m client watch {job}")
        raise


def _fetch(api: Api, status: JobStatus, out: Path | None) -> None:
    for path in fetch_files(api, status, out or default_folder(status.name, status.id)):
        view.say(str(path))


@app.command()
def submit(
    video: Annotated[str, typer.Argument(help="URL of the blob, or a local file to upload.")],
    name: Annotated[Text, _option("TEXT", "The clip's name in the timelines.")] = None,
    profile: Annotated[Text, _option("NAME", "What is spotted, and how.")] = None,
    model: Annotated[Many, _option("NAME", "Run only this model; may be repeated.")] = None,
    extra_model: Annotated[Many, _option("NAME", "Run this one as well; may be repeated.")] = None,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Every model on everything.")] = False,
    segment_s: Annotated[int | None, _option("SECONDS", "Length of a segment.")] = None,
    title: Annotated[Text, _option("TEXT", "Title of the timeline.")] = None,
    pre_roll_s: Annotated[Text, _option("SECONDS", "Kept before an event.")] = None,
    post_roll_s: Annotated[Text, _option("SECONDS", "Kept after an event.")] = None,
    merge_gap_s: Annotated[Text, _option("SECONDS", "Cuts nearer than this are joined.")] = None,
    threshold: Annotated[Many, _option("LABEL=0.6", "Least confidence; may be repeated.")] = None,
    format: Annotated[Many, _option("FORMAT", "Timeline to write; may be repeated.")] = None,
    idempotency_key: Annotated[Text, _option("KEY", "The same key is the same job.")] = None,
    upload_to: Annotated[Text, _option("URL", "Container for a local VIDEO, with its SAS.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait for the end.")] = False,
    out: OutFolder = None,
    api: ApiUrl = DEFAULT_API,
) -> None:
    """Start a job; print its id and status URL. With --out, wait for the end and fetch the files.

    A local VIDEO is uploaded to --upload-to, or to the account of the connection string in
    MATCHCUT_STORAGE.
    """
    if out is not None:
        writable(out)
    request = job_request(
        {
            # The request is checked before anything is uploaded; the blob's URL then replaces the path.
            "video": video if is_url(video) else f"file://{video}",
            "name": name or (None if is_url(video) else Path(video).name),
            "profile": profile,
            "models": model,
            "extra_models": extra_model,
            "exhaustive": exhaustive or None,
            "segment_s": segment_s,
        },
        {
            "title": title,
            "pre_roll_s": pre_roll_s,
            "post_roll_s": post_roll_s,
            "merge_gap_s": merge_gap_s,
            "thresholds": thresholds(threshold or []),
            "formats": format,
        },
    )
    url = video_url(video, upload_to, os.environ.get("MATCHCUT_STORAGE"))
    with _api(api) as service:
        accepted = service.submit(request.model_copy(update={"video": url}), idempotency_key)
        view.say(f"job     {accepted.id}")
        view.say(f"status  {accepted.status_url}")
        if watch or out is not None:
            status = _wait(service, accepted.id)
            if out is not None:
                _fetch(service, status, out)


@app.command()
def watch(job: JobId, patience_s: Patience = DEFAULT_PATIENCE_S, api: ApiUrl = DEFAULT_API) -> None:
    """Show a job until it has ended. Exit code 1 where it failed or was cancelled."""
    with _api(api, patience_s) as service:
        view.say(_wait(service, job).state.value)


@app.command()
def fetch(job: JobId, out: OutFolder = None, api: ApiUrl = DEFAULT_API) -> None:
    """Download every file of a job that has ended."""
    with _api(api) as service:
        _fetch(service, service.status(job).status, out)


@app.command()
def cancel(job: JobId, api: ApiUrl = DEFAULT_API) -> None:
    """End a job; print the state that it has then."""
    with _api(api) as service:
        view.say(service.cancel(job).state.value)


@app.command()
def retry(
    job: JobId,
    video: Annotated[Text, _option("URL", "The same URL with a fresh SAS, where one is needed.")] = None,
    api: ApiUrl = DEFAULT_API,
) -> None:
    """Run what is missing of a job that has gaps, failed or was cancelled; print its status URL."""
    with _api(api) as service:
        view.say(f"status  {service.retry(job, video).status_url}")


@app.command("list")
def list_command(
    state: Annotated[Text, _option("STATES", "Such as Failed,Scoring; every state without it.")] = None,
    since: Annotated[Text, _option("TIME", "Such as 2026-11-20: none that is older.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many at most.")] = 100,
    api: ApiUrl = DEFAULT_API,
) -> None:
    """The newest jobs: id, when it was accepted, state, name, and the code of its error."""
    query = {name: value for name, value in (("state", state), ("since", since)) if value}
    with _api(api) as service:
        for line in batches.table(service.jobs(top, **query)):
            view.say(line)


@batch.command("submit")
def batch_submit(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A URL per line, or JSON; - for stdin.")],
    name: Annotated[Text, _option("TEXT", "The batch's name.")] = None,
    profile: Annotated[Text, _option("NAME", "What is spotted, and how.")] = None,
    model: Annotated[Many, _option("NAME", "Run only this model; may be repeated.")] = None,
    exhaustive: Annotated[bool, typer.Option("--exhaustive", help="Every model on everything.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A job with a gap counts as failed.")] = False,
    idempotency_key: Annotated[Text, _option("KEY", "The same key is the same batch.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Wait for the end.")] = False,
    api: ApiUrl = DEFAULT_API,
) -> None:
    """Start a job for each video of a list; print the batch's id and status URL.

    FILE may also be a body as POST /api/batches takes it: one object, or a job's object per line.
    """
    options = {"profile": profile, "models": model, "exhaustive": exhaustive, "strict": strict}
    body, media_type = batches.batch_body(batches.read_text(source), name, options)
    with _api(api) as service:
        accepted = service.submit_batch(body, media_type, idempotency_key)
        view.say(f"batch   {accepted.id}")
        view.say(f"status  {accepted.links['self']}")
        if watch:
            batches.follow(service.follow_batch(accepted.id))


@batch.command("watch")
def batch_watch(batch: BatchId, patience_s: Patience = DEFAULT_PATIENCE_S, api: ApiUrl = DEFAULT_API) -> None:
    """Count a batch's jobs until all have ended, then name its failures. Exit code 1 where there are some."""
    with _api(api, patience_s) as service:
        batches.follow(service.follow_batch(batch))


@batch.command("csv")
def batch_csv(
    batch: BatchId,
    out: Annotated[Path | None, typer.Option(help="File to write; stdout otherwise.")] = None,
    api: ApiUrl = DEFAULT_API,
) -> None:
    """A row for each video: its job, its state, what went wrong, and where its EDL is."""
    with _api(api) as service:
        _put(service.batch_csv(batch), out)


@app.command()
def demo(
    video: Annotated[str, typer.Option(help="Any video file; a sample match is made without it.")] = "",
    out: Annotated[str, typer.Option(help="Folder for the files; out/<name>-<job id> without it.")] = "",
    segment_s: Annotated[str, _option("SECONDS", "Length of a segment.")] = "",
    seconds: Annotated[int, _option("SECONDS", "Length of the sample match.")] = 90,
    seed: Annotated[int | None, _option("NUMBER", "Of the sample match.")] = None,
    workers: Annotated[str, _option("NUMBER", "Activities that run at once.")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="Keep the storage and the log.")] = False,
) -> None:
    """Do everything on this machine: start the service, send it a match, fetch and show the EDL.

    An empty value counts as not given.
    """
    # The other commands need neither the host nor the sample.
    from client.demo import Demo, run
    from samples.truth import DEFAULT_SEED

    run(
        Demo(
            video=video or None,
            out=Path(out) if out else None,
            segment_s=_whole_number("--segment-s", segment_s, range(2, 3601), "2 to 3600"),
            seconds=seconds,
            seed=DEFAULT_SEED if seed is None else seed,
            workers=_whole_number("--workers", workers, range(1, 10**9), "1 or more"),
            keep=keep,
        )
    )


@models.command("check")
def models_check(
    folder: Annotated[Path, typer.Argument(help="One model, or a folder of models and profiles.")] = MODELS,
) -> None:
    """Check models as the service does when it loads them: manifest, digest, shapes, golden sample; and
    what heads, profiles and reference histograms name, the card and the licence.

    Exit code 1 where something is wrong, with a line for each fault.
    """
    from client.check import check_models  # onnxruntime is slow to import

    checks = check_models(folder)
    for check in checks:
        version = f", version {check.version}, digest {check.digest[:12]}" if check.digest else ""
        for line in check.faults or (f"ok{version}",):
            view.say(f"{check.name:24} {line}")
    if refused := [check.name for check in checks if check.faults]:
        raise ClientError(f"{len(refused)} of {len(checks)} refused: {', '.join(refused)}.")


@models.command("histogram")
def models_histogram(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="One or more models.")],
    video: Annotated[list[Path], typer.Option("--video", help="Footage; may be repeated.")],
    measured_on: Annotated[str, _option("TEXT", "What the footage is; its files' names without it.")] = "",
) -> None:
    """Write sample/reference.json: how a model's scores are spread over footage that it knows."""
    from client.histogram import write_references

    for path in write_references(folders, video, measured_on):
        view.say(str(path))


@app.command("export")
def export_command(
    result: Annotated[Path, typer.Argument(help="A result.json.")],
    format: Annotated[str, typer.Option(help="The timeline to write.")],
    out: Annotated[Path | None, typer.Option(help="File to write; stdout otherwise.")] = None,
) -> None:
    """Write a timeline from a result, offline."""
    _put(export(result, format), out)


def _put(data: bytes, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(data)
        return
    try:
        out.write_bytes(data)
    except OSError as bad:
        raise ClientError(f"{out} cannot be written: {bad.strerror}.") from None
