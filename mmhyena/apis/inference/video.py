"""Videos and cameras, read and written one frame at a time with OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np

from mmhyena.errors import UserError

__all__ = ['VIDEO_SUFFIXES', 'Frame', 'Video', 'VideoWriter', 'is_video']

VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')

_DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        image: BGR (H, W, 3), uint8.
        source: File name of the video, or 'camera 0'.
        index: Position in the video, from 0.
        seconds: Time in the video.
    """

    image: np.ndarray
    source: str
    index: int
    seconds: float


def is_video(source: object) -> TypeGuard[str | Path]:
    """Return whether ``source`` is the name of a video file, by its suffix."""
    return isinstance(source, (str, Path)) and Path(source).suffix.lower() in VIDEO_SUFFIXES


class Video:
    """Frames of a video file or of a camera, decoded as they are asked for. It can be iterated over once.

    Args:
        source: A file name, or the index of a camera.
        max_frames: Stop after so many frames; None reads to the end, and a camera until it is interrupted.

    Raises:
        UserError: If the file or the camera cannot be opened.

    Attributes:
        name: File name, or 'camera 0'.
        is_camera: Whether it is a camera.
        fps: Frames per second.
        num_frames: Number of frames to expect, as the container states it; None if that is unknown.
        num_broken: Number of frames not decoded so far; frames missing at the end count once it is reached.
    """

    def __init__(self, source: str | Path | int, max_frames: int | None = None) -> None:
        self.is_camera = is_camera = isinstance(source, int)
        self.name = f'camera {source}' if is_camera else str(source)
        if not isinstance(source, int) and not Path(source).is_file():
            raise UserError(f'{source} cannot be read as a video: there is no such file')
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            raise UserError(
                f'{self.name} cannot be opened: check that it is connected and not in use'
                if is_camera
                else f'{source} cannot be read as a video: it is damaged, or OpenCV lacks a decoder for it'
            )
        self.fps = self._property(cv2.CAP_PROP_FPS) or _DEFAULT_FPS
        stated = None if is_camera else int(self._property(cv2.CAP_PROP_FRAME_COUNT)) or None
        limited = max_frames is not None and (stated is None or max_frames < stated)
        self.num_frames = max_frames if limited else stated
        self._max_frames = max_frames
        self.num_broken = 0

    def _property(self, key: int) -> float:
        """Return a property of the video, 0 if it is unknown."""
        value = float(self._capture.get(key))
        return value if 0 < value < 1e7 else 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order, without those that cannot be decoded."""
        index = 0
        try:
            while self._max_frames is None or index < self._max_frames:
                if not self._capture.grab():
                    break
                decoded, image = self._capture.retrieve()
                if decoded and image is not None:
                    yield Frame(image, self.name, index, index / self.fps)
                else:
                    self.num_broken += 1
                index += 1
            else:
                return
            self.num_broken += max((self.num_frames or 0) - index, 0)
        finally:
            self.close()

    def close(self) -> None:
        """Release the file or the camera."""
        self._capture.release()

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class VideoWriter:
    """Writes an mp4 file (MPEG-4 part 2) frame by frame; the first frame sets the size.

    Args:
        file: Name that ends in ``.mp4``.
        fps: Frames per second.
    """

    def __init__(self, file: str | Path, fps: float) -> None:
        self.file, self.fps = Path(file), fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, picture: np.ndarray) -> None:
        """Append a picture, RGB (H, W, 3), uint8; one of another size is resized.

        Raises:
            UserError: If the file cannot be written.
        """
        if self._writer is None:
            self._size = (picture.shape[1], picture.shape[0])
            codec = cv2.VideoWriter.fourcc(*'mp4v')
            self._writer = cv2.VideoWriter(str(self.file), codec, self.fps, self._size)
            if not self._writer.isOpened():
                raise UserError(f'{self.file} cannot be written: OpenCV has no mp4 encoder, or the folder is read-only')
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(np.ascontiguousarray(picture[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
