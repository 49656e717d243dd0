"""What a source says of itself gives it nothing of another's."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from infra.local.azurite import Azurite
from shared.errors import BlobAccessDenied
from shared.steps import run_plan
from shared.storage import Records
from tests.support.clips import make_clip
from tests.support.hosts import Host
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite


def padded(clip: bytes, length: int) -> bytes:
    """An mp4 made longer by a box that nobody reads."""
    more = length - len(clip)
    return clip + more.to_bytes(4, "big") + b"free" + bytes(more - 8)


def sounding(from_s: int, lasts_s: int) -> bytes:
    clip = make_clip(250, gop=25, sound_from_s=Fraction(from_s), sound_s=Fraction(lasts_s))
    return padded(clip, 1 << 20)


def test_a_host_that_claims_another_s_etag_and_length_is_read_and_scored_for_itself(azurite: Azurite) -> None:
    with Host(sounding(0, 9), "0x1") as honest, Host(sounding(4, 5), "0x1") as liar:
        service, alone = (
            InProcessService(azurite.connection_string, source_hosts=(honest.name, liar.name))
            for _ in range(2)
        )
        its_own = alone.tracks(alone.accept(liar.url))
        read_alone = liar.bytes_served
        honest_job, liar_job = service.run(honest.url)[0], service.run(liar.url)[0]
        timing = service.result(liar_job).timing
        assert (2, 0) == (timing.units_scored, timing.units_cached)
        assert 2 * read_alone == liar.bytes_served
        scored, honest_s = service.tracks(liar_job), service.tracks(honest_job)
        for model, track in its_own.items():
            assert np.array_equal(track.scores, scored[model].scores)
        heard = "crowd-excitement"
        assert not np.array_equal(honest_s[heard].scores, scored[heard].scores)


def test_a_video_is_scored_once_whatever_the_query_it_is_asked_for_with(azurite: Azurite) -> None:
    with Host(sounding(0, 9), "0x1") as host:
        service = InProcessService(azurite.connection_string, source_hosts=(host.name,))
        service.run(f"{host.url}?sig=one")
        again, _ = service.run(f"{host.url}?sig=two", cut={"pre_roll_s": 1})
        timing = service.result(again).timing
        assert (0, 2) == (timing.units_scored, timing.units_cached)


def test_who_cannot_read_a_video_gets_none_of_its_scores_and_no_job_that_has_them(azurite: Azurite) -> None:
    with Host(sounding(0, 9), "0x1") as host:
        service = InProcessService(azurite.connection_string, source_hosts=(host.name,))
        service.run(host.url)
        service.run(host.url, key="replayed")
        planned = service.accept(host.url, name="planned after")
        host.closed = True
        for key in (None, "replayed"):
            with pytest.raises(BlobAccessDenied):
                service.accept(host.url, key=key)
        with pytest.raises(BlobAccessDenied):
            run_plan(service.settings, Records(service.store, planned))
