"""Decode a unit once for several models: their tracks, and facts about the unit's span."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from shared.contracts import Plan, SpanFacts, Unit
from shared.errors import Cancelled, ModelRefused, VideoTooLong
from shared.models import AudioScorer, Catalogue, Model, PictureScorer, Track, load_model
from shared.settings import Settings
from shared.storage import Records, paths
from shared.video import (
    Gather,
    Joined,
    Part,
    Picture,
    Pictures,
    RangeReader,
    Samples,
    Sweep,
    gathered_sound,
    open_video,
    part_of_npz,
    sound,
)

_LOOK_FOR_CANCEL_S = 1.0


@dataclass(frozen=True)
class Decoded:
    """The results of decoding a unit."""

    facts: SpanFacts
    tracks: Mapping[str, Track]
    """By model."""
    embeddings: Mapping[str, Track]
    """By model, of the models that have one."""
    refused: Mapping[str, str]
    """Model -> why it has no track."""
    part: Part | None
    """The part of the compressed sound that a segment gathered."""
    bytes_read: int
    """Of the video, and of gathered packets."""


def load_planned(settings: Settings, plan: Plan, name: str) -> Model:
    """The model as it was planned. Raises ModelRefused."""
    planned = next(ref for ref in plan.models if ref.name == name)
    return load_model(Catalogue.of(settings).folder(planned), settings.ort_threads)


def decode(settings: Settings, records: Records, unit: Unit, names: Sequence[str]) -> Decoded:
    """Decode the unit, and score it with these models, none of them a head.

    Raises Cancelled, VideoTooLong, and the errors of opening and reading the video.
    """
    return _Decoder(settings, records, records.plan, unit).run(names)


@dataclass
class _Decoder:
    """One unit while it is decoded, and the results so far."""

    settings: Settings
    records: Records
    plan: Plan
    """Held, since every picture asks for its rate."""
    unit: Unit
    tracks: dict[str, Track] = field(default_factory=dict)
    embeddings: dict[str, Track] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    part: Part | None = None
    packet_bytes: int = 0
    """Of gathered packets that were read back."""
    _look_at: float = 0.0

    def run(self, names: Sequence[str]) -> Decoded:
        self._stop_if_cancelled()
        reader = open_video(self.settings, self.records.store, self.records.request)
        facts = self._decode(self._load(names), reader)
        bytes_read = self.packet_bytes + reader.bytes_read
        return Decoded(facts, self.tracks, self.embeddings, self.refused, self.part, bytes_read)

    def _decode(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        if self.unit.kind == "sweep":
            return self._sweep(models, reader)
        if self.unit.kind == "audio":
            return self._listen(models, reader)
        return self._see(models, reader)

    def _load(self, names: Sequence[str]) -> dict[str, Model]:
        models = {}
        for name in names:
            try:
                models[name] = load_planned(self.settings, self.plan, name)
            except ModelRefused as failure:
                self.refused[name] = failure.message
        return models

    def _stop_if_cancelled(self) -> None:
        """Called with every picture, but looks into storage only once a second: a cancel waits for a second
        and one batch at most."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_FOR_CANCEL_S
        if self.records.store.exists(paths.cancel_path(self.records.run)):
            raise Cancelled("The job was cancelled.")

    def _see(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        """Decode the core and its halo once, for all models."""
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
        """Decode the whole sound once for each model: from the packets that the segments gathered, or, where
        these may not be the whole sound, in a pass of its own through the file."""
        video, limit_s, heard = self.plan.video, self.settings.max_video_s, None
        errors: list[str] = []
        for name, model in models.items():
            rate_hz = int(model.grid(video.rate).rate)
            joined, errors = Joined(self._parts()) if self._all_gathered() else None, []
            if joined:
                heard = self._hear(
                    name, model, gathered_sound(joined, reader, video, rate_hz, limit_s, errors)
                )
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
        """Score the chunks with a model; returns how many seconds of sound there were."""
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
        """Whether every segment left its packets. The listing spares most attempts that would break."""
        if not self.plan.gathers:
            return False
        gathered = sum(1 for _ in self.records.store.list(paths.packets_folder(self.records.run)))
        return gathered == len(self.plan.units)

    def _parts(self) -> Iterator[Part | None]:
        for unit in self.plan.units:
            data = self.records.store.find(paths.packets_path(self.records.run, unit.index))
            self.packet_bytes += len(data or b"")
            yield part_of_npz(data) if data else None

    def _sweep(self, models: Mapping[str, Model], reader: RangeReader) -> SpanFacts:
        """Decode the whole sound and every key frame, in one pass."""
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
        """last_frame: the video's last timeline frame, where decoding reached the end of its picture."""
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
