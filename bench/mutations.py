"""Files to try the service with: real ones, and seeded mutations of them. The same seed gives the same bytes.

Each kind of mutation is what happens to a file (an upload that breaks off, a disk that rots), or what
somebody sends on purpose (a playlist that names other files, a kilobyte that unpacks to gigabytes).
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from samples.match import write_match
from shared.settings import ROOT
from tests.support.clips import MEDIA, make_clip

SAMPLE = ROOT / ".run" / "corpus-sample.mp4"
LARGEST_BASE_BYTES = 900_000
"""Length of the files that are mutated, so that hundreds of jobs last minutes."""
CANARY = "http://127.0.0.1:{port}/canary"
"""An address that no request may reach."""


EXACT = {"fflags": "bitexact"}
"""Without it Matroska draws random identifiers."""


@dataclass(frozen=True)
class Case:
    """One file: `name` is unique, `blob` what it is uploaded as."""

    name: str
    kind: str
    blob: str
    make: Callable[[], bytes] = field(repr=False, compare=False)


def originals() -> list[Path]:
    """Every file of the real footage, where it is there, and our own sample."""
    if not SAMPLE.exists():
        SAMPLE.parent.mkdir(parents=True, exist_ok=True)
        write_match(SAMPLE, seconds=30, seed=3, width=256, height=144, rate=Fraction(25), bitrate="90k")
    real = sorted(path for path in MEDIA.rglob("*") if path.is_file() and path.name != "README.md")
    return [*real, SAMPLE]


def cases(port: int, seed: int = 4) -> Iterator[Case]:
    """All cases: the original files, then the mutations. `port`: of the canary."""
    files = originals()
    for path in files:
        yield Case(f"original {path.parent.name}/{path.name}", "original", path.name, path.read_bytes)
    bases = [path for path in files if 0 < path.stat().st_size <= LARGEST_BASE_BYTES]
    for kind, (count, mutate) in MUTATIONS.items():
        # Bases in an order of the kind's own, each once before any comes again.
        chance = random.Random(f"{seed} {kind}")
        order = [SAMPLE, *chance.sample(bases[:-1], len(bases) - 1)]
        for number in range(count):
            base = order[number % len(order)]
            yield Case(
                f"{kind} {number} {base.parent.name}/{base.name}",
                kind,
                f"{number}{chance.choice(_SUFFIXES) if kind == 'wrong extension' else base.suffix}",
                _mutation(mutate, base, f"{seed} {kind} {number}"),
            )
    yield from _made("playlist", playlists(CANARY.format(port=port), str(SAMPLE)))
    yield from _made("bomb", bombs())


def _mutation(mutate: Callable[[bytes, random.Random], bytes], base: Path, seed: str) -> Callable[[], bytes]:
    return lambda: mutate(base.read_bytes(), random.Random(seed))


def _made(kind: str, made: dict[str, Callable[[], bytes]]) -> Iterator[Case]:
    for name, make in made.items():
        yield Case(f"{kind} {name}", kind, name.split()[-1], make)


# ---------------------------------------------------------------- what happens to files


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Files that break off, begin late, or have lost a piece."""
    place = chance.randrange(len(data))
    match chance.randrange(4):
        case 0:
            return data[place:]
        case 1:
            return data[:place] + data[place + chance.randrange(1, 1 << 16) :]
        case _:
            return data[:place]


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 10, 100, 1000))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def damage_header(data: bytes, chance: random.Random) -> bytes:
    """Random bytes in the container's header."""
    changed, start = bytearray(data), 0
    if (table := data.find(b"moov")) >= 0:
        start = table
    for _ in range(chance.choice((1, 4, 16, 64))):
        changed[min(len(changed) - 1, start + chance.randrange(2048))] = chance.randrange(256)
    return bytes(changed)


def zero_span(data: bytes, chance: random.Random) -> bytes:
    """Blocks that were never written."""
    changed = bytearray(data)
    start = chance.randrange(len(data))
    length = min(len(data) - start, chance.choice((512, 4096, 1 << 16)))
    changed[start : start + length] = bytes(length)
    return bytes(changed)


_SIZED = (
    b"stsz", b"stts", b"stsc", b"stco", b"ctts", b"stss", b"elst", b"mdhd", b"tkhd", b"avc1", b"mdat",
    b"trun", b"moov", b"trak", b"idx1", b"strh", b"strf", b"avih", b"OggS",
    b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b",
)  # fmt: skip


def declare_huge(data: bytes, chance: random.Random) -> bytes:
    """Sizes, counts and durations near what their fields hold at most."""
    changed = bytearray(data)
    marks = [at for mark in _SIZED if (at := data.find(mark)) >= 0] or [0]
    for _ in range(chance.choice((1, 2, 4))):
        at = max(0, chance.choice(marks) + 4 * chance.choice((-1, 1, 2, 3, 4, 5, 6, 7)))
        value = chance.choice((0x7FFFFFFF, 0xFFFFFFFF, 0x0FFFFFFF, 0x00FFFFFF, 0x80000000))
        changed[at : at + 4] = struct.pack(chance.choice((">I", "<I")), value)[: len(changed) - at]
    return bytes(changed)


def swap_streams(data: bytes, chance: random.Random) -> bytes:
    """Packets that stand in another stream than their own, or in another order."""
    out = io.BytesIO()
    try:
        with (
            av.open(io.BytesIO(data)) as source,
            av.open(out, "w", format="matroska", options=EXACT) as muxer,
        ):
            assert isinstance(source, InputContainer)
            streams = [s for s in source.streams if s.codec_context is not None and s.type != "subtitle"]
            targets = [muxer.add_stream_from_template(stream) for stream in streams]
            packets = [p for p in source.demux(*streams) if p.size and p.dts is not None]
            turn = chance.randrange(1, len(streams)) if len(streams) > 1 else 0
            goes = {s.index: targets[(n + turn) % len(targets)] for n, s in enumerate(streams)}
            if not turn:
                contents = [bytes(packet) for packet in packets]
                chance.shuffle(contents)
                packets = [_like(p, content) for p, content in zip(packets, contents, strict=True)]
            for packet in packets:
                packet.stream = goes[packet.stream.index]
                muxer.mux(packet)
    except (av.FFmpegError, ValueError):
        pass  # what was written until then is a file as well
    return out.getvalue() or data[::-1]


def _like(packet: Packet[Stream], content: bytes) -> Packet[Stream]:
    made: Packet[Stream] = Packet(content)
    made.stream, made.pts, made.dts = packet.stream, packet.pts, packet.dts
    made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
    return made


_OTHERS: tuple[bytes, ...] = (
    b"\x89PNG\r\n\x1a\n", b"GIF89a\x01\x00\x01\x00", b"PK\x03\x04", b"%PDF-1.7\n",
    b"RIFF\xff\xff\xff\x7fWAVEfmt ", b"<!doctype html><video src=/etc/passwd>",
    b"ID3\x04\x00\x00\x00\x00\x0f\x76", b"\x1f\x8b\x08\x00", b"FLV\x01\x05",
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", b"#!/bin/sh\ncurl http://127.0.0.1/\n", b"\x7fELF\x02\x01\x01",
)  # fmt: skip


def disguise(data: bytes, chance: random.Random) -> bytes:
    """Other files under a video's name: by the name alone, or with the beginning of another kind of file."""
    return b"" if chance.random() < 0.1 else chance.choice(_OTHERS) + data[chance.choice((0, 0, 16, 512)) :]


_SUFFIXES = (".mp4", ".m3u8", ".ffconcat", ".sdp", ".mpd", ".png", ".txt", ".h264", ".wav", "")

MUTATIONS: dict[str, tuple[int, Callable[[bytes, random.Random], bytes]]] = {
    "truncated": (50, truncate),
    "bits flipped": (60, flip_bits),
    "header damaged": (60, damage_header),
    "span zeroed": (25, zero_span),
    "streams swapped": (30, swap_streams),
    "huge declared sizes": (50, declare_huge),
    "other kind of file": (25, disguise),
    "wrong extension": (20, lambda data, chance: data),
    "empty": (2, lambda data, chance: bytes(chance.choice((0, 1)))),
}


# ---------------------------------------------------------------- what somebody sends on purpose


def playlists(url: str, path: str) -> dict[str, Callable[[], bytes]]:
    """Scripts that ask a demuxer to open something else. If a demuxer obeyed, `path` would give a result, and
    `url` would be requested."""
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}.m3u8\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    media = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n"
    )
    texts = {
        "concat.ffconcat": f"ffconcat version 1.0\nfile '{path}'\n",
        "concat as.mp4": f"ffconcat version 1.0\nfile '{path}'\nduration 5\n",
        "concat of a url.mp4": f"ffconcat version 1.0\nfile '{url}'\n",
        "concat without header.txt": f"file '{path}'\nfile '{path}'\n",
        "hls of a file.m3u8": media.format(path),
        "hls of a file as.ts": media.format(f"file://{path}"),
        "hls of a url.mp4": media.format(url),
        "hls master.m3u8": master,
        "hls with concat protocol.mp4": media.format(f"concat:{url}|{path}"),
        "hls with subfile.mp4": media.format(f"subfile,,start,0,end,64,,:{path}"),
        "hls key.ts": "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=" + media.format(path).replace("#EXTM3U", url),
        "dash of a file.mpd": dash.format(path),
        "dash of a url as.mp4": dash.format(url),
        "session description.sdp": sdp,
        "session description as.mp4": sdp,
        "playlist.pls": f"[playlist]\nFile1={url}\nNumberOfEntries=1\n",
        "smil.smil": f'<smil><body><video src="{url}"/></body></smil>',
        "asx.asx": f'<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
        "image sequence%03d.png": str(Path(path).parent / "img%03d.png"),
        "ffmetadata.mp4": ";FFMETADATA1\ntitle=x\n[CHAPTER]\nSTART=0\nEND=1\n",
        "lavfi.mp4": f"movie={path}[out0]",
        "rtsp.mp4": f"RTSPtext\nrtsp://{url.removeprefix('http://')}\n",
        "bare path.mp4": path,
        "bare url.mp4": url,
    }
    made: dict[str, Callable[[], bytes]] = {name: _constant(text.encode()) for name, text in texts.items()}
    made["hls before a video.mp4"] = lambda: media.format(path).encode() + make_clip(10)
    made["concat behind a video.mp4"] = lambda: make_clip(10) + texts["concat.ffconcat"].encode()
    made["samples in another file.mov"] = lambda: _alias(make_clip(10, container="mov"), path)
    return made


def _alias(data: bytes, path: str) -> bytes:
    """A QuickTime file whose samples lie in the file at `path`, by an alias record as libav reads it."""
    own = struct.pack(">I4sI", 12, b"url ", 1)
    name, place = Path(path).name.encode(), path.encode()
    record = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12)
    record += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(place)) + place + bytes(len(place) % 2) + b"\xff\xff\0\0"
    other = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    at, changed = data.index(own), bytearray(data)
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        size = changed.rindex(box, 0, at) - 4
        (was,) = struct.unpack_from(">I", changed, size)
        struct.pack_into(">I", changed, size, was + len(record))
    return bytes(changed[:at]) + other + bytes(changed[at + len(own) :])


def _constant(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def bombs() -> dict[str, Callable[[], bytes]]:
    """Small files that unpack to much, or declare much."""
    mjpeg = partial(make_clip, 8, codec="mjpeg", container="avi", coder={"strict": "unofficial"})
    return {
        "samples by the billion.mp4": lambda: _constant_samples(make_clip(10), 0x7FFFFFFF),
        "samples by the hundred million.mp4": lambda: _constant_samples(make_clip(10), 100_000_000),
        "times by the billion.mp4": lambda: _patched(make_clip(10), b"stts", 12, ">I", 0x7FFFFFFF),
        "vp8 of 16383 x 16383.webm": lambda: _vp8_sized(0, 16383, 16383),
        "vp8 that turns to 16383 x 16383.webm": lambda: _vp8_sized(1, 16383, 16383),
        "vp8 of 8191 x 4319.webm": lambda: _vp8_sized(0, 8191, 4319),
        "mjpeg of 65500 x 65500.avi": lambda: _jpeg_sized(mjpeg(), 65500, 65500),
        "mjpeg of 8192 x 4320.avi": lambda: _jpeg_sized(mjpeg(), 8192, 4320),
        "mjpeg that turns to 65500 x 65500.avi": lambda: _jpeg_sized(mjpeg(), 65500, 65500, 4),
        "h264 that claims 65535 x 65535.mp4": lambda: _patched(make_clip(10), b"avc1", 28, ">I", 0xFFFFFFFF),
        "two hundred streams.mkv": lambda: _many_streams(200),
        "sixty streams that begin in the middle.ts": lambda: _joined(60, "0x300") + _transport(),
        "picture that turns to sound.ts": lambda: _joined(1, "0x100"),
        "a thousand pictures a second.mkv": lambda: make_clip(
            3000, container="matroska", options=EXACT, time_base=Fraction(1, 1000), pts=range(3000)
        ),
        "a picture, and one in a hundred hours.mkv": lambda: make_clip(
            3,
            container="matroska",
            options=EXACT,
            b_frames=0,
            time_base=Fraction(1, 1000),
            pts=(0, 40, 360_000_000),
        ),
        "boxes in boxes.mp4": lambda: _nested(20_000),
    }


def _patched(data: bytes, mark: bytes, offset: int, form: str, *values: int) -> bytes:
    """Values written `offset` bytes behind the first place of a mark."""
    at = data.index(mark) + len(mark) + offset
    packed = struct.pack(form, *values)
    return data[: at - 4] + packed + data[at - 4 + len(packed) :]


def _constant_samples(data: bytes, count: int) -> bytes:
    """stsz: version and flags, size of all samples, their count."""
    return _patched(_patched(data, b"stsz", 8, ">II", 1, count), b"stts", 12, ">I", count)


@lru_cache(maxsize=1)
def _vp8() -> bytes:
    coder = {"g": "5", "deadline": "realtime"}
    return make_clip(10, codec="libvpx", container="webm", options=EXACT, coder=coder)


def _vp8_sized(first: int, width: int, height: int) -> bytes:
    """Key frames from the `first` on say another size than the container: 14 bits each."""
    data, start = bytearray(_vp8()), -1
    for number in range(2):
        start = data.index(b"\x9d\x01\x2a", start + 1)
        if number >= first:
            data[start + 3 : start + 7] = struct.pack("<HH", width, height)
    return bytes(data)


def _jpeg_sized(data: bytes, width: int, height: int, first: int = 0) -> bytes:
    """The frame headers (SOF0) of all pictures from the `first` on."""
    head = b"\xff\xc0\x00\x11\x08"
    parts: Sequence[bytes] = data.split(head)
    size = struct.pack(">HH", height, width)
    sized = [part if n < first else size + part[4:] for n, part in enumerate(parts[1:])]
    return head.join([parts[0], *sized])


@lru_cache(maxsize=1)
def _transport() -> bytes:
    return make_clip(100, container="mpegts")


def _joined(streams: int, first_pid: str) -> bytes:
    """A picture, and streams of sound that a look at the beginning and the end does not find: between them
    lie packets that say nothing."""
    padding = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 32_000
    sound = _many_streams(streams, "mpegts", "mp2", {"mpegts_start_pid": first_pid})
    return _transport() + padding + sound + padding


def _many_streams(
    count: int, container: str = "matroska", codec: str = "pcm_s16le", options: dict[str, str] = EXACT
) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as muxer:
        for stream in [muxer.add_stream(codec, rate=48_000, layout="mono") for _ in range(count)]:
            packet = Packet(bytes(192))
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            packet.time_base = Fraction(1, 48_000)
            muxer.mux(packet)
    return out.getvalue()


def _nested(depth: int) -> bytes:
    head = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0)
    return head + b"".join(struct.pack(">I4s", 8 * (depth - level), b"moov") for level in range(depth))
