"""A file made of range reads is the file, whatever is read of it, and fetches little in vain."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import StorageUnavailable
from shared.video import RangeReader

DATA = bytes(value * value % 251 for value in range(50_000))


class Source:
    """Counts what is fetched of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.fetched: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert 0 < length <= len(self.data) - offset
        self.fetched.append((offset, length))
        return self.data[offset : offset + length]


def small(source: Source) -> RangeReader:
    reader = RangeReader(source, len(source.data))
    reader.least_bytes, reader.most_bytes, reader.kept_bytes = 100, 1000, 4000
    return reader


def read_fully(reader: RangeReader, length: int) -> bytes:
    parts = []
    while length and (part := reader.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 5000)), max_size=30))
def test_reads_in_any_order_give_the_bytes_of_the_file(reads: list[tuple[int, int]]) -> None:
    source, plain = Source(DATA), io.BytesIO(DATA)
    reader = small(source)
    for offset, length in reads:
        assert reader.seek(offset) == plain.seek(offset)
        assert read_fully(reader, length) == plain.read(length)
        assert reader.tell() == min(plain.tell(), max(offset, len(DATA)))
    assert reader.bytes_read == sum(length for _, length in source.fetched)


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12))
def test_what_is_kept_is_not_fetched_again(offsets: list[int]) -> None:
    source = Source(DATA[:3500])
    reader = small(source)
    for offset in [*offsets, *offsets]:
        reader.seek(offset)
        read_fully(reader, 400)
    pieces = sorted(source.fetched)
    assert all(a + length <= b for (a, length), (b, _) in pairwise(pieces))


def test_pieces_grow_while_reading_goes_on_and_not_elsewhere() -> None:
    source = Source(DATA)
    reader = small(source)
    read_fully(reader, 12_000)
    lengths = [length for _, length in source.fetched]
    assert lengths[:5] == [100, 100, 100, 150, 225]
    assert lengths == sorted(lengths)
    assert lengths[-1] == 1000
    assert sum(lengths) < 12_000 + 1000
    reader.seek(40_000)
    reader.read(1)
    assert source.fetched[-1] == (40_000, 100)


def test_two_places_that_are_read_in_turn_grow_each_for_itself() -> None:
    source = Source(DATA)
    reader = small(source)
    for step in range(40):
        for place in (0, 25_000):
            reader.seek(place + step * 100)
            read_fully(reader, 100)
    assert len(source.fetched) < 2 * 14
    assert sum(length for _, length in source.fetched) < 2 * (4000 + 1000)


def test_no_more_is_kept_than_allowed() -> None:
    source = Source(DATA)
    reader = small(source)
    read_fully(reader, len(DATA))
    assert reader.bytes_read == len(DATA)
    reader.seek(0)
    reader.read(1)
    assert reader.bytes_read == len(DATA) + 100


def test_the_next_reader_of_a_file_does_not_fetch_its_header_again() -> None:
    source, header = Source(DATA), dict[int, bytes]()
    for offsets in ([0, 49_000], [20_000], [30_000]):
        reader = RangeReader(source, len(DATA), header)
        reader.least_bytes, reader.most_bytes = 100, 1000
        for offset in (0, 49_000):  # an index before the frames, and one behind them
            reader.seek(offset)
            assert read_fully(reader, 300) == DATA[offset : offset + 300]
        reader.keep_header()
        for offset in offsets:
            reader.seek(offset)
            assert read_fully(reader, 700) == DATA[offset : offset + 700]
    fetched = [offset for offset, _ in source.fetched]
    assert sorted(set(fetched)) == sorted(fetched)
    assert all(offset < 300 or offset >= 49_000 for offset in header)


@pytest.mark.parametrize("length", [1000, 30_000])
def test_a_header_that_is_most_of_the_file_or_large_is_not_kept(length: int) -> None:
    header: dict[int, bytes] = {}
    reader = RangeReader(Source(DATA), length, header)
    reader.header_bytes = 5000
    read_fully(reader, 6000)
    reader.keep_header()
    assert header == {}


def test_a_failure_is_kept_since_libav_would_take_it_for_the_end() -> None:
    def fetch(offset: int, length: int) -> bytes:
        raise StorageUnavailable("Storage answered 503.")

    reader = RangeReader(fetch, 10)
    with pytest.raises(StorageUnavailable):
        reader.read(1)
    assert isinstance(reader.failure, StorageUnavailable)


def test_a_failure_is_final_since_libav_would_wait_for_a_slow_source_again_and_again() -> None:
    asked: list[int] = []

    def fetch(offset: int, length: int) -> bytes:
        asked.append(offset)
        if offset:
            raise StorageUnavailable("Storage answered 503.")
        return bytes(length)

    reader = RangeReader(fetch, 1 << 20)
    assert 1 == len(reader.read(1))
    for offset in (200_000, 500_000):
        reader.seek(offset)
        with pytest.raises(StorageUnavailable):
            reader.read(1)
    assert [0, 200_000] == asked


def test_a_short_answer_is_a_failure() -> None:
    reader = RangeReader(lambda offset, length: b"x" * (length - 1), 10)
    with pytest.raises(StorageUnavailable):
        reader.read(1)
    assert reader.failure is not None
    assert reader.bytes_read == 0
