"""A seekable file made of range reads (floor 2)."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable

from shared.errors import MatchcutError, StorageUnavailable
from shared.limits import MediaLimits


class RangeReader(io.RawIOBase):
    """`length_bytes` bytes behind fetch(offset, length), read in whole blocks, the last few kept:
    a demuxer hops back and forth between its index and the samples.

    `bytes_read` counts what was fetched. A failure is kept in `failure`: libav turns an exception
    in a read into an end of file, which would pass a lost connection off as a short video, so
    whoever decodes must look at it.
    """

    block_bytes = 1 << 20
    blocks_kept = 24

    def __init__(self, fetch: Callable[[int, int], bytes], length_bytes: int) -> None:
        """fetch returns exactly the bytes [offset, offset + length), or raises MatchcutError."""
        self._fetch = fetch
        self._length_bytes = length_bytes
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.bytes_read = 0
        self.failure: MatchcutError | None = None
        self.limits = MediaLimits.default()
        """Whoever decodes these bytes keeps to them."""

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
        """Up to `size` bytes: fewer at the end of a block, none only at the end."""
        if self._position >= self._length_bytes:
            return b""
        number, start = divmod(self._position, self.block_bytes)
        block = self._block(number)
        data = block[start:] if size < 0 else block[start : start + size]
        self._position += len(data)
        return data

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        offset = number * self.block_bytes
        wanted = min(self.block_bytes, self._length_bytes - offset)
        try:
            block = self._fetch(offset, wanted)
            if len(block) != wanted:
                raise StorageUnavailable("The video came back shorter than storage says it is.")
        except MatchcutError as failure:
            self.failure = failure
            raise
        self.bytes_read += len(block)
        self._blocks[number] = block
        if len(self._blocks) > self.blocks_kept:
            self._blocks.popitem(last=False)
        return block
