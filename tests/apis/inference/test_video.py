"""Videos: read one frame at a time, written as mp4, broken ones named."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('mmcv')

from mmhyena.apis.inference.video import Video, VideoWriter, is_video
from mmhyena.errors import UserError


def write(file, count: int = 6, size: tuple[int, int] = (48, 64)):
    """Write a video whose frames get brighter by 30 from one to the next."""
    with VideoWriter(file, fps=10.0) as writer:
        for i in range(count):
            writer.write(np.full((*size, 3), 30 * i, np.uint8))
    return file


@pytest.mark.parametrize('size', [(48, 64), (49, 65)])
def test_a_written_video_is_read_again(size, tmp_path):
    video = Video(write(tmp_path / 'x.mp4', size=size))
    assert (video.fps, video.num_frames) == (10.0, 6)
    frames = list(video)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert frames[0].source == str(tmp_path / 'x.mp4')
    for i, frame in enumerate(frames):
        assert abs(frame.image.mean() - 30 * i) < 4
        assert max(abs(a - b) for a, b in zip(frame.image.shape, size)) <= 1  # MPEG-4 stores even sizes
    assert video.num_broken == 0


def test_a_limit_stops_early_and_counts_nothing_as_broken(tmp_path):
    video = Video(write(tmp_path / 'x.mp4'), max_frames=2)
    assert video.num_frames == 2 and len(list(video)) == 2 and video.num_broken == 0


def test_frames_that_cannot_be_decoded_are_counted(tmp_path, monkeypatch):
    video = Video(write(tmp_path / 'x.mp4'))

    class Capture:
        """Fails to decode the second frame and ends after the fourth."""

        grabbed = 0

        def grab(self):
            self.grabbed += 1
            return self.grabbed <= 4

        def retrieve(self):
            return self.grabbed != 2, np.zeros((2, 2, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(video, '_capture', Capture())
    assert [frame.index for frame in video] == [0, 2, 3]
    assert video.num_broken == 1 + 2


def test_what_is_no_video_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r'none\.mp4 cannot be read as a video: there is no such file'):
        Video(tmp_path / 'none.mp4')
    (tmp_path / 'text.mp4').write_text('no video')
    with pytest.raises(UserError, match=r'text\.mp4 cannot be read as a video: it is damaged'):
        Video(tmp_path / 'text.mp4')
    with pytest.raises(UserError, match=r'camera 97 cannot be opened'):
        Video(97)


def test_videos_are_known_by_their_suffix():
    assert is_video('a/b.MP4') and not is_video('a/b.png') and not is_video(np.zeros((2, 2, 3), np.uint8))


def test_streams_are_lazy_in_order_and_read_one_batch_ahead(make_inferencer, tmp_path):
    pytest.importorskip('mmpretrain')
    inferencer = make_inferencer('classification')
    file = write(tmp_path / 'x.mp4', count=5)
    results = list(inferencer.stream(file, batch_size=2))
    assert [(result.source, result.frame) for result in results] == [(str(file), i) for i in range(5)]
    expected = inferencer([frame.image for frame in Video(file)], batch_size=2)
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result.scores, other.scores)

    read = []

    def endless():
        while True:
            read.append(len(read))
            yield np.zeros((64, 64, 3), np.uint8)

    stream = inferencer.stream(endless(), batch_size=3)
    assert read == []
    for _ in range(4):
        next(stream)
    assert len(read) == 6
