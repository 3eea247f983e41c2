"""Frames to the bytes of a PNG, a GIF or an MP4.

Films are made in memory and written whole, so that an interrupted one leaves no file.
"""

from __future__ import annotations

import io
import zlib
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from townlet_env.errors import ConfigError
from townlet_replay.safe_files import write_files

if TYPE_CHECKING:
    from PIL import Image

Frame = npt.NDArray[np.uint8]  # (H, W, 3)

GIF_COLOURS = 255
_SAMPLED = 12  # frames that the palette of a GIF is chosen from
_CANDIDATES = 8192  # most frequent colours of these frames
_GIF_TICK = 10  # milliseconds; durations in a GIF are multiples of it
_SHORTEST = 2  # such multiples; viewers slow down what is faster
MP4_QUALITY = "20"  # of x264, smaller is better


class PictureFile(NamedTuple):
    """A picture or film on disk."""

    path: str
    frames: int
    width: int
    height: int
    size: int  # bytes


class Png:
    """Keeps the last frame as a picture."""

    suffix = ".png"

    def __init__(self, fps: float) -> None:
        """Begin; a picture has no pace."""
        del fps
        self.frames = 0
        self._frame: Frame | None = None

    def add(self, frame: Frame) -> None:
        """Take a frame."""
        self._frame, self.frames = frame, 1

    def finish(self) -> bytes:
        """Return the bytes of the file."""
        assert self._frame is not None
        buffer = io.BytesIO()
        _image(self._frame).save(buffer, "PNG", optimize=True)
        return buffer.getvalue()


class Gif:
    """Collects frames, then gives them one palette, so that colours stand still."""

    suffix = ".gif"

    def __init__(self, fps: float) -> None:
        """Begin a film of ``fps`` frames a second."""
        self._duration = max(_SHORTEST, round(1000 / fps / _GIF_TICK)) * _GIF_TICK
        self._packed: list[bytes] = []
        self._shape: tuple[int, ...] = ()

    @property
    def frames(self) -> int:
        """Frames so far."""
        return len(self._packed)

    def add(self, frame: Frame) -> None:
        """Take a frame."""
        self._shape = frame.shape
        self._packed.append(zlib.compress(frame.tobytes(), 1))

    def finish(self) -> bytes:
        """Return the bytes of the file."""
        from PIL import Image

        count = len(self._packed)
        sampled = sorted({k * (count - 1) // max(1, _SAMPLED - 1) for k in range(_SAMPLED)})
        palette = _palette([self._unpack(k) for k in sampled if k < count])
        images = (
            _image(self._unpack(k)).quantize(palette=palette, dither=Image.Dither.NONE)
            for k in range(count)
        )
        buffer = io.BytesIO()
        next(images).save(
            buffer, "GIF", save_all=True, append_images=images, duration=self._duration, loop=0
        )
        return buffer.getvalue()

    def _unpack(self, k: int) -> Frame:
        return np.frombuffer(zlib.decompress(self._packed[k]), np.uint8).reshape(self._shape)


class Mp4:
    """Encodes frames as they come, in H.264, as every player knows it."""

    suffix = ".mp4"

    def __init__(self, fps: float) -> None:
        """Begin a film of ``fps`` frames a second."""
        import av

        self.frames = 0
        self._buffer = io.BytesIO()
        self._container = av.open(self._buffer, "w", "mp4")
        self._stream = self._container.add_stream(
            "libx264",
            rate=Fraction(fps).limit_denominator(1000),
            options={"crf": MP4_QUALITY, "tune": "animation"},
        )
        self._stream.pix_fmt = "yuv420p"

    def add(self, frame: Frame) -> None:
        """Take a frame; height and width are even."""
        import av

        if not self.frames:
            self._stream.height, self._stream.width = frame.shape[:2]
        picture = av.VideoFrame.from_ndarray(frame, "rgb24")
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def finish(self) -> bytes:
        """Return the bytes of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._buffer.getvalue()


Film = Png | Gif | Mp4
FILMS: dict[str, type[Png] | type[Gif] | type[Mp4]] = {
    film.suffix: film for film in (Png, Gif, Mp4)
}


def check_target(path: Path, suffix: str) -> None:
    """Make sure, before an hour is spent on a film, that it has a place.

    Raises:
        ConfigError: The name does not end as its kind does, is that of a folder, or what writes
            such files is not installed.
    """
    if path.suffix.lower() != suffix:
        raise ConfigError(f"{path}: expected a name that ends in {suffix}, found {path.name!r}")
    if path.is_dir():
        raise ConfigError(f"{path}: expected the name of a file, found a folder")
    try:
        import av  # noqa: F401
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path}: writing it needs {error.name}, which is not installed; "
            "run: pip install 'townlet[render]'"
        ) from error


def write_film(film: Film, path: Path, shape: tuple[int, ...]) -> PictureFile:
    """Write a finished film: whole, or not at all.

    Raises:
        CaptureError: The disk refuses; a file that was there before is intact.
    """
    data = film.finish()
    write_files(path.parent, {path.name: data})
    return PictureFile(str(path), film.frames, shape[1], shape[0], len(data))


def _image(frame: Frame) -> Image.Image:
    from PIL import Image

    return Image.fromarray(frame)


def _palette(samples: list[Frame]) -> Image.Image:
    """Return a palette for all frames: again and again the colour that is missed most.

    A colour is missed by its squared distance to the nearest one chosen so far, times the square
    root of its pixels: a token is not lost to the many shades of a large lawn.
    """
    from PIL import Image

    pixels = np.concatenate([sample.reshape(-1, 3) for sample in samples]).astype(np.uint32)
    codes = pixels[:, 0] << 16 | pixels[:, 1] << 8 | pixels[:, 2]
    found, counts = np.unique(codes, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:_CANDIDATES]
    found, counts = found[common], counts[common]
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.float64)
    weights = np.sqrt(counts)
    missed = np.full(len(colours), np.inf)
    chosen = [0]
    while len(chosen) < min(GIF_COLOURS, len(colours)):
        apart = ((colours - colours[chosen[-1]]) ** 2).sum(axis=1)
        missed = np.minimum(missed, apart * weights)
        chosen.append(int(missed.argmax()))
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[chosen].astype(np.uint8).tobytes())
    return palette
