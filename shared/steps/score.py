"""The step that scores one unit.

A unit is decoded once, for all models whose scores are missing. Heads then score their sources' embeddings.
A model that is refused (digest, shapes, golden sample, NaN) is left out and named in the summary; the others
go on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from shared import names
from shared.contracts import ModelRef, Plan, SpanFacts, StoredRequest, Unit, UnitSummary, fraction_text
from shared.errors import ModelRefused, RecordUnreadable
from shared.models import Track, from_npz, score_head, to_npz
from shared.settings import PREPROCESSING, Settings
from shared.steps._cost import Meter
from shared.steps._decode import Decoded, decode, load_planned
from shared.storage import BlobStore, Records, paths
from shared.storage import records as stored_records
from shared.video import Part

log = logging.getLogger("matchcut")
_BINARY = "application/octet-stream"


def run_score(settings: Settings, records: Records, index: int) -> UnitSummary:
    """Score one unit of the plan or of the look: decode it once, for all models whose scores are missing.

    Raises Cancelled, VideoTooLong, and the errors of opening and reading the video and of storage.
    """
    store, plan, unit = records.store, records.plan, _unit(records, index)
    keys = {name: _score_key(records.request, plan, unit, name) for name in unit.models}
    facts_key = _key(records.request, plan, unit, f"facts {unit.kind}")
    meter = Meter()
    kept_facts = _kept_facts(store, facts_key)
    # reuse() makes scores count as new, and retention removes no new scores.
    missing = {name for name, key in keys.items() if not store.reuse(paths.score_path(key))}
    heads = {name: plan.sources[name] for name in keys if name in missing and name in plan.sources}
    kept = _kept_embeddings(store, {source: keys[source] for source in heads.values()})
    networks = missing - set(heads)
    sources = set(heads.values()) - set(heads) - set(kept)  # scored again only for their embeddings
    decoded = None
    if networks or sources or kept_facts is None:
        decoded = decode(settings, records, unit, sorted(networks | sources))
    else:
        store.reuse(paths.facts_path(facts_key))
    found = _Found.of(decoded)
    for head, source in heads.items():
        found.add_head(settings, plan, head, source, kept)
    if decoded and decoded.part:  # before the scores, so that a unit that dies in between decodes again
        _keep_part(records, index, decoded.part)
    for name, track in found.tracks.items():
        store.put(paths.score_path(keys[name]), to_npz(track), _BINARY)
    for name, track in found.embeddings.items():
        store.put(paths.embedding_path(keys[name]), to_npz(track), _BINARY)
    facts = decoded.facts if decoded else kept_facts
    assert facts is not None
    if decoded:  # last, so that facts without scores never look like a finished unit
        store.put(paths.facts_path(facts_key), facts.model_dump_json().encode())
    summary = UnitSummary(
        unit=index,
        facts=facts,
        scores={name: key for name, key in keys.items() if name not in found.refused},
        refused=found.refused,
        cached=not missing and kept_facts is not None,
        spent=meter.spent(decoded.bytes_read if decoded else 0),
    )
    records.write_summary(summary)
    return summary


@dataclass
class _Found:
    """Tracks, embeddings and refusals of a unit, by model."""

    tracks: dict[str, Track]
    embeddings: dict[str, Track]
    refused: dict[str, str]

    @classmethod
    def of(cls, decoded: Decoded | None) -> _Found:
        if decoded is None:
            return cls({}, {}, {})
        return cls(dict(decoded.tracks), dict(decoded.embeddings), dict(decoded.refused))

    def add_head(
        self, settings: Settings, plan: Plan, head: str, source: str, kept: Mapping[str, Track]
    ) -> None:
        """Score a head from its source's embedding, decoded now or kept in storage."""
        embedding = self.embeddings.get(source) or kept.get(source)
        if embedding is None:
            why = self.refused.get(source, f"model {source} has no embedding")
            self.refused[head] = f"model {head} stands on {source}: {why}"
            return
        try:
            self.tracks[head] = score_head(load_planned(settings, plan, head), embedding)
        except ModelRefused as failure:
            self.refused[head] = failure.message


def _unit(records: Records, index: int) -> Unit:
    units = records.plan.units
    if index >= len(units) and (look := records.find_look()):
        units += look.units
    return units[index]


def _keep_part(records: Records, index: int, part: Part) -> None:
    path = paths.packets_path(records.run, index)
    records.store.put(path, part.to_npz(), _BINARY)
    # If the run has ended meanwhile, it cleared its packets before this part was written.
    if records.store.exists(paths.end_path(records.run)):
        records.store.delete(path)


def _score_key(stored: StoredRequest, plan: Plan, unit: Unit, model: str) -> str:
    """The key of a model's scores of a unit: from its digest and its manifest's, for a head also those of its
    source. The same scores have the same key, whatever the unit's kind."""
    refs = {ref.name: ref for ref in plan.models}

    def digest_of(ref: ModelRef) -> str:
        source = plan.sources.get(ref.name)
        return f"{ref.digest} {ref.manifest}" + (f" {digest_of(refs[source])}" if source else "")

    return _key(stored, plan, unit, digest_of(refs[model]))


def _key(stored: StoredRequest, plan: Plan, unit: Unit, what: str) -> str:
    """Video identity | what | pre-processing version | time | span: so nothing is scored twice."""
    video = plan.video
    time = (fraction_text(video.rate), f"{video.origin_pts} {video.numbering}")
    span = (str(unit.start_frame), str(unit.end_frame))
    return names.score_key((*stored.video_identity, what, PREPROCESSING, *time, *span))


def _kept_facts(store: BlobStore, key: str) -> SpanFacts | None:
    """The facts of an earlier decoding; None where there are none, or unreadable ones. They are a cache that
    many jobs share, so decoding again mends them."""
    try:
        return stored_records.find(store, SpanFacts, paths.facts_path(key))
    except RecordUnreadable as why:
        log.warning("decoded anew: %s", why.message)
        return None


def _kept_embeddings(store: BlobStore, keys: Mapping[str, str]) -> dict[str, Track]:
    """By model, the embeddings that storage keeps. keys: score key by model."""
    places = {name: paths.embedding_path(key) for name, key in keys.items()}
    found = {name: store.find(path) for name, path in places.items() if store.reuse(path)}
    return {name: from_npz(data) for name, data in found.items() if data}
