"""A blob as a seekable file, by range reads."""

from __future__ import annotations

import io
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import MatchcutError, StorageUnavailable
from shared.video.limits import MediaLimits


class RangeReader(io.RawIOBase):
    """A file of `length_bytes` bytes that is fetched in pieces by fetch(offset, length). The pieces that were
    used last are kept, since a demuxer alternates between the index and the samples.

    A piece is half as long as the gapless read before it, from least_bytes to most_bytes. So a long read
    takes few requests, and a read that stops early has fetched little in vain.

    `bytes_read` counts the bytes that were fetched. `failure` keeps the first failure: libav turns an
    exception in a read into an end of file, and a lost connection would look like a short video, so a caller
    that decodes must check it. A failure is final: libav goes on to read elsewhere, and would wait for a slow
    source each time.
    """

    least_bytes = 128 << 10
    most_bytes = 1 << 20
    kept_bytes = 24 << 20
    header_bytes = 12 << 20
    """A larger header is not kept for the next reader, nor one of at least a quarter of the file."""

    def __init__(
        self,
        fetch: Callable[[int, int], bytes],
        length_bytes: int,
        header: dict[int, bytes] | None = None,
    ) -> None:
        """fetch returns exactly the bytes [offset, offset + length), or raises MatchcutError.

        header: offset -> bytes, shared by readers of one version of one file. The first reader fills it
        (keep_header), and the others need not fetch these pieces again.
        """
        self._fetch = fetch
        self._length_bytes = length_bytes
        self._position = 0
        self._pieces: OrderedDict[int, bytes] = OrderedDict()
        """Offset -> bytes; the piece that was used last comes last. Pieces do not overlap."""
        self._offsets: list[int] = []
        """Offsets of the pieces, ascending."""
        self._runs: dict[int, int] = {}
        """Offset of a piece -> length of the gapless read that ends with it."""
        self._held_bytes = 0
        self._header = {} if header is None else header
        self.bytes_read = 0
        self.failure: MatchcutError | None = None
        self.limits = MediaLimits.default()
        """The limits that decoders of this file observe."""
        for offset, piece in sorted(self._header.items()):
            self._hold(offset, piece, len(piece))

    def keep_header(self) -> None:
        """Keep the pieces fetched until now, mostly the index, for the next readers of this file."""
        if not self._header and self._held_bytes < min(self.header_bytes, self._length_bytes // 4):
            self._header.update(self._pieces)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes: fewer at the end of a piece, none only at the end of the file.

        Raises the reader's failure: StorageUnavailable, or what fetch raises.
        """
        if self._position >= self._length_bytes:
            return b""
        offset, piece = self._piece(self._position)
        start = self._position - offset
        data = piece[start:] if size < 0 else piece[start : start + size]
        self._position += len(data)
        return data

    def _piece(self, position: int) -> tuple[int, bytes]:
        """(offset of the piece that holds the byte at `position`, the piece)."""
        place = bisect_right(self._offsets, position)
        run = 0
        if place:
            offset = self._offsets[place - 1]
            piece = self._pieces[offset]
            if position < offset + len(piece):
                self._pieces.move_to_end(offset)
                return offset, piece
            if position == offset + len(piece):
                run = self._runs[offset]
        end = self._offsets[place] if place < len(self._offsets) else self._length_bytes
        length = min(max(self.least_bytes, run // 2), self.most_bytes, end - position)
        piece = self._fetched(position, length)
        self._hold(position, piece, run + length)
        return position, piece

    def _hold(self, offset: int, piece: bytes, run: int) -> None:
        self._pieces[offset], self._runs[offset] = piece, run
        insort(self._offsets, offset)
        self._held_bytes += len(piece)
        while self._held_bytes > self.kept_bytes:
            self._forget()

    def _fetched(self, offset: int, length: int) -> bytes:
        if self.failure:
            raise self.failure
        try:
            piece = self._fetch(offset, length)
            if len(piece) != length:
                raise StorageUnavailable("The video came back shorter than storage says it is.")
        except MatchcutError as failure:
            self.failure = failure
            raise
        self.bytes_read += length
        return piece

    def _forget(self) -> None:
        offset, piece = self._pieces.popitem(last=False)
        del self._runs[offset], self._offsets[bisect_left(self._offsets, offset)]
        self._held_bytes -= len(piece)
