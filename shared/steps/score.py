"""What the activity that scores one unit does.

A unit is decoded once, for every model whose scores are not there yet; heads then read what their
sources left. A model that is refused (digest, shapes, golden sample, NaN) is left out and named in the
summary; the others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from shared import names
from shared.contracts import ModelRef, Plan, SpanFacts, StoredRequest, Unit, UnitSummary, fraction_text
from shared.errors import Cancelled, ModelRefused, RecordUnreadable, VideoTooLong
from shared.models import (
    AudioScorer,
    Catalogue,
    Model,
    PictureScorer,
    Track,
    from_npz,
    load_model,
    score_head,
    to_npz,
)
from shared.settings import PREPROCESSING, Settings
from shared.steps._cost import Meter
from shared.storage import BlobStore, find_look, load_plan, load_request, paths, records
from shared.video import (
    Gather,
    Joined,
    Part,
    Picture,
    Pictures,
    RangeReader,
    Samples,
    Sweep,
    open_video,
    part_of_npz,
    sound,
    sound_of,
)

log = logging.getLogger("matchcut")

_LOOK_FOR_CANCEL_S = 1.0


def run_score(settings: Settings, store: BlobStore, job: str, index: int) -> UnitSummary:
    """Score one unit of the plan or of the look: decode once, feed every model whose scores are not there.

    Raises Cancelled, VideoTooLong, or what storage says.
    """
    stored, plan = load_request(store, job), load_plan(store, job)
    units = plan.units
    if index >= len(units) and (look := find_look(store, job)):
        units += look.units
    unit = units[index]
    keys = {name: _score_key(stored, plan, unit, name) for name in unit.models}
    facts_key = _key(stored, plan, unit, f"facts {unit.kind}")
    work = _Work(settings, store, stored, plan, unit)
    meter = Meter()
    found = _kept_facts(store, facts_key)
    # reuse: retention removes no scores that count as new.
    missing = [name for name, key in keys.items() if not store.reuse(paths.score_path(key))]
    heads = {name: plan.sources[name] for name in missing if name in plan.sources}
    kept = _kept_embeddings(store, {source: keys[source] for source in heads.values()})
    decoded = {*missing, *heads.values()} - set(heads) - (set(kept) - set(missing))
    known = found if not decoded else None
    if known:
        store.reuse(paths.facts_path(facts_key))
    facts = known or work.decode(sorted(decoded))
    for head, source in heads.items():
        work.read(head, source, kept)
    if work.part is not None:  # before the scores, so that a unit that died in between decodes again
        _keep_part(store, job, index, work.part)
    for name, track in work.tracks.items():
        store.put(paths.score_path(keys[name]), to_npz(track), _BINARY)
    for name, track in work.embeddings.items():
        store.put(paths.embedding_path(keys[name]), to_npz(track), _BINARY)
    # Last, so that facts without scores never look like a finished unit.
    if work.reader:
        store.put(paths.facts_path(facts_key), facts.model_dump_json().encode())
    summary = UnitSummary(
        unit=index,
        facts=facts,
        scores={name: key for name, key in keys.items() if name not in work.refused},
        refused=work.refused,
        cached=not missing and found is not None,
        spent=meter.spent(work.bytes_read),
    )
    store.put(paths.summary_path(job, index), summary.model_dump_json().encode())
    return summary


_BINARY = "application/octet-stream"


def _keep_part(store: BlobStore, job: str, index: int, part: Part) -> None:
    path = paths.packets_path(job, index)
    store.put(path, part.to_npz(), _BINARY)
    if store.exists(paths.end_path(job)):  # it ended meanwhile, and cleared up before we wrote
        store.delete(path)


def _score_key(stored: StoredRequest, plan: Plan, unit: Unit, model: str) -> str:
    """Model and manifest digest, of a head its source's too: what gives the same scores has the same key,
    whatever the kind of its unit."""
    refs = {ref.name: ref for ref in plan.models}

    def told(ref: ModelRef) -> str:
        source = plan.sources.get(ref.name)
        return f"{ref.digest} {ref.manifest}" + (f" {told(refs[source])}" if source else "")

    return _key(stored, plan, unit, told(refs[model]))


def _key(stored: StoredRequest, plan: Plan, unit: Unit, what: str) -> str:
    """Video identity | what | pre-processing version | time | span: nothing is scored twice."""
    video = plan.video
    time = (fraction_text(video.rate), f"{video.origin_pts} {video.numbering}")
    span = (str(unit.start_frame), str(unit.end_frame))
    return names.score_key((*stored.video_identity, what, PREPROCESSING, *time, *span))


def _kept_facts(store: BlobStore, key: str) -> SpanFacts | None:
    """Those that cannot be read are found anew: they are a cache, and many jobs'."""
    try:
        return records.find(store, SpanFacts, paths.facts_path(key))
    except RecordUnreadable as why:
        log.warning("decoded anew: %s", why.message)
        return None


def _kept_embeddings(store: BlobStore, keys: Mapping[str, str]) -> dict[str, Track]:
    there = {name: paths.embedding_path(key) for name, key in keys.items()}
    found = {name: store.find(path) for name, path in there.items() if store.reuse(path)}
    return {name: from_npz(data) for name, data in found.items() if data}


@dataclass
class _Work:
    """One unit being scored, and what has come of it."""

    settings: Settings
    store: BlobStore
    stored: StoredRequest
    plan: Plan
    unit: Unit
    tracks: dict[str, Track] = field(default_factory=dict)
    embeddings: dict[str, Track] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Model name -> why."""
    reader: RangeReader | None = None
    _look_at: float = 0.0
    part: Part | None = None
    """What a segment gathered of the sound."""
    packet_bytes: int = 0
    """Of gathered packets that were read back."""

    @property
    def bytes_read(self) -> int:
        return self.packet_bytes + (self.reader.bytes_read if self.reader else 0)

    def decode(self, names_: list[str]) -> SpanFacts:
        """Feed these models, none of them a head."""
        self._stop_if_cancelled()
        self.reader = open_video(self.settings, self.store, self.stored)
        models = {name: model for name in names_ if (model := self._load(name))}
        if self.unit.kind == "sweep":
            return self._sweep(models, self.reader)
        if self.unit.kind == "audio":
            return self._listen(models, self.reader)
        return self._see(models, self.reader)

    def read(self, head: str, source: str, kept: Mapping[str, Track]) -> None:
        """Score a head from its source's embedding, fresh or kept."""
        embedding = self.embeddings.get(source) or kept.get(source)
        if embedding is None:
            why = self.refused.get(source, f"model {source} has no embedding")
            self.refused[head] = f"model {head} stands on {source}: {why}"
        elif model := self._load(head):
            try:
                self.tracks[head] = score_head(model, embedding)
            except ModelRefused as failure:
                self.refused[head] = failure.message

    def _load(self, name: str) -> Model | None:
        """The model as it was planned; None where it is refused."""
        planned = next(ref for ref in self.plan.models if ref.name == name)
        try:
            folder = Catalogue.of(self.settings).folder(planned)
            return load_model(folder, self.settings.ort_threads)
        except ModelRefused as failure:
            self.refused[name] = failure.message
            return None

    def _stop_if_cancelled(self) -> None:
        """Asked with every picture; looks once a second, so that a cancel never waits for longer than that
        and one batch."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_FOR_CANCEL_S
        if self.store.exists(paths.cancel_path(self.plan.job)):
            raise Cancelled("The job was cancelled.")

    def _see(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        """Decode the core and its halo once, for all."""
        unit, video = self.unit, self.plan.video
        scorers = self._picture_scorers(models)
        first_needed = min([unit.start_frame, *(scorer.first_needed for scorer in scorers.values())])
        ends = [unit.end_frame, *(scorer.end_needed for scorer in scorers.values())]
        needed = [end for end in ends if end is not None]
        end_needed = max(needed) if len(needed) == len(ends) else None
        gather = Gather(video, unit.start_frame, unit.end_frame) if self.plan.gathers else None
        pictures = Pictures(reader, video, first_needed, end_needed, gather)
        frames, last_in_core, last = 0, None, None
        for picture in pictures:
            self._stop_if_cancelled()
            last = picture.frame
            self._limit(last)
            if unit.start_frame <= last and (unit.end_frame is None or last < unit.end_frame):
                frames += 1
                last_in_core = last
            self._push(scorers, picture)
        self.part = gather.part() if gather else None
        self._finish(scorers, last if pictures.ended else None)
        return SpanFacts(frames=frames, last_frame=last_in_core, decode_errors=len(pictures.errors))

    def _listen(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        """The whole sound, once for each model: from what the segments gathered, or where that is not the
        whole for certain, in a pass of its own through the file."""
        video, limit_s, heard = self.plan.video, self.settings.max_video_s, None
        errors: list[str] = []
        for name, model in models.items():
            rate_hz = int(model.grid(video.rate).rate)
            joined, errors = Joined(self._parts()) if self._all_gathered() else None, []
            if joined:
                heard = self._hear(name, model, sound_of(joined, reader, video, rate_hz, limit_s, errors))
            if not joined or (joined.broken and name not in self.refused):
                errors = []
                heard = self._hear(name, model, sound(reader, video, rate_hz, limit_s, errors))
        return SpanFacts(
            frames=0,
            last_frame=None,
            decode_errors=0,
            heard_frame=self._heard_frame(heard),
            sound_errors=len(errors),
        )

    def _hear(self, name: str, model: Model, chunks: Iterator[Samples]) -> Fraction:
        """How many seconds were heard."""
        scorer, samples = AudioScorer(model), 0
        try:
            for chunk in chunks:
                self._stop_if_cancelled()
                samples += len(chunk)
                scorer.push(chunk)
        except ModelRefused as failure:
            self.refused[name] = failure.message
        self._finish({name: scorer}, None)
        return Fraction(samples, int(model.grid(self.plan.video.rate).rate))

    def _all_gathered(self) -> bool:
        """A look at the names: it spares most of the attempts that would break."""
        if not self.plan.gathers:
            return False
        there = sum(1 for _ in self.store.list(paths.packets_folder(self.plan.job)))
        return there == len(self.plan.units)

    def _parts(self) -> Iterator[Part | None]:
        for unit in self.plan.units:
            data = self.store.find(paths.packets_path(self.plan.job, unit.index))
            self.packet_bytes += len(data or b"")
            yield part_of_npz(data) if data else None

    def _sweep(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        """The whole sound and every key frame, in one pass."""
        video = self.plan.video
        scorers = self._picture_scorers(models)
        listeners = {name: AudioScorer(m) for name, m in models.items() if m.manifest.kind == "audio"}
        rates_hz = {name: int(models[name].grid(video.rate).rate) for name in listeners}
        samples = dict.fromkeys(rates_hz.values(), 0)
        sweep = Sweep(reader, video, set(rates_hz.values()), self.settings.max_video_s)
        frames = 0
        for item in sweep:
            self._stop_if_cancelled()
            if isinstance(item, Picture):
                frames += 1
                self._limit(item.frame)
                self._push(scorers, item)
                continue
            samples[item.rate_hz] += len(item.samples)
            for name, listener in listeners.items():
                if rates_hz[name] == item.rate_hz and name not in self.refused:
                    try:
                        listener.push(item.samples)
                    except ModelRefused as failure:
                        self.refused[name] = failure.message
        self._finish(scorers, sweep.last_frame)
        self._finish(listeners, None)
        heard = max((Fraction(count, rate_hz) for rate_hz, count in samples.items()), default=None)
        return SpanFacts(
            frames=frames,
            last_frame=sweep.last_frame,
            decode_errors=len(sweep.picture_errors),
            heard_frame=self._heard_frame(heard),
            sound_errors=len(sweep.sound_errors),
        )

    def _picture_scorers(self, models: Mapping[str, Model]) -> dict[str, PictureScorer]:
        unit, rate = self.unit, self.plan.video.rate
        return {
            name: PictureScorer(model, rate, unit.start_frame, unit.end_frame)
            for name, model in models.items()
            if model.manifest.kind != "audio"
        }

    def _push(self, scorers: Mapping[str, PictureScorer], picture: Picture) -> None:
        for name, scorer in scorers.items():
            if name not in self.refused:
                try:
                    scorer.push(picture)
                except ModelRefused as failure:
                    self.refused[name] = failure.message

    def _finish(self, scorers: Mapping[str, PictureScorer | AudioScorer], last_frame: int | None) -> None:
        """last_frame: of the video's picture, where decoding reached its end."""
        for name, scorer in scorers.items():
            if name not in self.refused:
                try:
                    if isinstance(scorer, AudioScorer):
                        self.tracks[name] = scorer.finish()
                    else:
                        self.tracks[name] = scorer.finish(last_frame)
                except ModelRefused as failure:
                    self.refused[name] = failure.message
                    continue
                if scorer.embedding is not None:
                    self.embeddings[name] = scorer.embedding

    def _limit(self, frame: int) -> None:
        limit_s = self.settings.max_video_s
        if frame > limit_s * self.plan.video.rate:
            raise VideoTooLong(f"The video goes on beyond the limit of {limit_s} s.")

    def _heard_frame(self, heard_s: Fraction | None) -> int | None:
        return int(heard_s * self.plan.video.rate) - 1 if heard_s else None
