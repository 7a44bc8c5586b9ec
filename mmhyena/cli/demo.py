"""Draw the predictions of a model: mmhyena demo SOURCE CONFIG CHECKPOINT, or SOURCE NAME_IN_THE_MODEL_INDEX.

Examples:
    mmhyena demo street.jpg CONFIG CHECKPOINT                    a picture in outputs/street.png
    mmhyena demo 'photos/**/*.jpg' CONFIG CHECKPOINT --save-json and what was found, in json files beside the pictures
    mmhyena demo street.mp4 CONFIG CHECKPOINT --batch-size 4     a video in outputs/street.mp4
    mmhyena demo 0 CONFIG CHECKPOINT --max-frames 250            ten seconds of the first camera; Ctrl-C ends it sooner
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder, prepare_process, run_cli

if TYPE_CHECKING:
    from mmhyena.apis import Inferencer
    from mmhyena.apis.inference.results import Result
    from mmhyena.apis.inference.sources import Sources
    from mmhyena.apis.inference.video import Video


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'source',
        help='images or videos: a file, a folder with subfolders, a glob in quotes or a URL; or the index of a camera',
    )
    parser.add_argument('model', help='config file the model was trained with, or its name in the model index')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those that the model index names)')
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ... (default: an accelerator if there is one)")
    parser.add_argument('--out-dir', default='outputs', help='for pictures, videos and json files (default: outputs)')
    parser.add_argument('--save-json', action='store_true', help='write the predictions as json, too')
    parser.add_argument('--batch-size', type=int, default=1, help='images per forward pass (default: 1)')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score of shown objects (default: 0.3)')
    parser.add_argument('--opacity', type=float, default=0.45, help='of masks and label maps, 0 to 1 (default: 0.45)')
    parser.add_argument('--top-k', type=int, default=5, help='classes shown for each classified image (default: 5)')
    parser.add_argument('--max-frames', type=int, help='of a video or camera (default: all)')
    parser.add_argument('--max-pixels', type=int, default=50_000_000, help='largest image taken (default: 50000000)')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast; long convolutions stay in float32')
    parser.add_argument('--no-fuse', action='store_true', help='do not fuse the blocks of the model on a CPU')
    add_verbose_argument(parser)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Check numbers before anything is loaded.

    Raises:
        UserError: Naming the option that is out of range.
    """
    for option in ('batch_size', 'top_k', 'max_frames', 'max_pixels'):
        if getattr(args, option) is not None and getattr(args, option) < 1:
            raise UserError(f'--{option.replace("_", "-")} {getattr(args, option)}: give at least 1')
    for option in ('score_thr', 'opacity'):
        if not 0 <= getattr(args, option) <= 1:
            raise UserError(f'--{option.replace("_", "-")} {getattr(args, option)}: give a number from 0 to 1')


@dataclass
class Report:
    """What the demo has done so far."""

    images: int = 0
    frames: int = 0
    videos: int = 0
    found: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    broken_frames: int = 0


def run(args: argparse.Namespace) -> None:
    """Write NAME.png for every image and NAME.mp4 for every video, in subfolders as those of the source."""
    from mmhyena.apis import Inferencer
    from mmhyena.apis.inference.sources import find_sources
    from mmhyena.apis.inference.video import Video
    from mmhyena.utils.memory import keep_freed_memory

    check_args(args)
    keep_freed_memory()
    with ExitStack() as stack:
        downloads = stack.enter_context(TemporaryDirectory(prefix='mmhyena-'))
        sources = find_sources(args.source, args.out_dir, downloads)
        out_dir = make_folder(args.out_dir, '--out-dir')
        camera = None
        if sources.camera is not None:  # a camera that is missing is noticed before the model is loaded
            camera = stack.enter_context(Video(sources.camera, args.max_frames))
        options = dict(device=args.device, fuse=not args.no_fuse, max_pixels=args.max_pixels, amp=args.amp)
        inferencer = Inferencer(args.model, args.checkpoint, **options)
        report = Report()
        if sources.images:
            draw_images(inferencer, sources, args, report)
        for file in sources.videos:
            name = sources.names.get(str(file), str(file))
            try:
                video = stack.enter_context(Video(file, args.max_frames))
            except UserError as error:
                report.broken.append(str(error).replace(str(file), name))
                continue
            draw_video(inferencer, video, name, sources.targets[str(file)], args, report)
        if camera is not None:
            draw_video(inferencer, camera, camera.name, sources.targets[args.source], args, report)
    print_report(report, inferencer.task, len(sources.images) + len(sources.videos), out_dir)


def draw_images(inferencer: Inferencer, sources: Sources, args: argparse.Namespace, report: Report) -> None:
    """Write a picture, and json if it is wanted, for every image."""
    import mmcv
    from rich.progress import track

    def skip(file: Path, error: UserError) -> None:
        report.broken.append(str(error).replace(str(file), sources.names.get(str(file), str(file))))

    results = inferencer.stream(sources.images, batch_size=args.batch_size, skipped=skip)
    for result in track(results, description='Images', total=len(sources.images)):
        file = str(result.source)
        target = sources.targets[file]
        target.parent.mkdir(parents=True, exist_ok=True)
        record = to_record(result, args, sources.names.get(file, file))
        report.found.update(findings(record))
        report.images += 1
        picture = inferencer.draw(result, args.score_thr, args.opacity, args.top_k)
        if not mmcv.imwrite(picture[..., ::-1], f'{target}.png'):
            raise UserError(f'{target}.png cannot be written')
        if args.save_json:
            Path(f'{target}.json').write_text(json.dumps(record, indent=1), encoding='utf-8')


def draw_video(
    inferencer: Inferencer, video: Video, name: str, target: Path, args: argparse.Namespace, report: Report
) -> None:
    """Write a video, and json if it is wanted, from the frames of a video or camera, one batch in memory at a time."""
    from rich.progress import track

    from mmhyena.apis.inference.video import VideoWriter

    reasons: list[str] = []
    before = report.frames
    target.parent.mkdir(parents=True, exist_ok=True)
    results = inferencer.stream(video, batch_size=args.batch_size, skipped=lambda _, error: reasons.append(str(error)))
    with VideoWriter(f'{target}.mp4', video.fps) as writer, json_list(target, args.save_json) as write_record:
        try:
            for result in track(results, description=f'Frames of {Path(name).name}', total=video.num_frames):
                record = to_record(result, args, name)
                report.found.update(findings(record))
                report.frames += 1
                writer.write(inferencer.draw(result, args.score_thr, args.opacity, args.top_k))
                write_record(record)
        except KeyboardInterrupt:  # the way to end a camera; what is written so far is complete
            if not video.is_camera:
                raise
    broken = len(reasons) + video.num_broken
    report.broken_frames += broken
    if report.frames > before:
        report.videos += 1
    else:
        report.broken.append(reasons[0] if reasons else f'{name} cannot be read as a video: no frame can be decoded')
        return
    if broken:
        report.broken.append(f'{broken} frames of {name}: {reasons[0] if reasons else "they cannot be decoded"}')


@contextmanager
def json_list(target: Path, wanted: bool) -> Iterator[Any]:
    """Yield a function that appends a record to the list in TARGET.json, so that no more than one is in memory."""
    if not wanted:
        yield lambda record: None
        return
    with Path(f'{target}.json').open('w', encoding='utf-8') as stream:
        separator = '[\n'

        def append(record: dict[str, Any]) -> None:
            nonlocal separator
            stream.write(separator + json.dumps(record))
            separator = ',\n'

        try:
            yield append
        finally:
            stream.write('[]\n' if separator == '[\n' else '\n]\n')


def print_report(report: Report, task: str, files: int, out_dir: Path) -> None:
    """Print what was found and where it is, and what was skipped.

    Raises:
        UserError: If nothing could be drawn.
    """
    if not report.images + report.frames:
        others = f' (and {len(report.broken) - 1} more)' if len(report.broken) > 1 else ''
        raise UserError(report.broken[0] + others if report.broken else 'no frame was read')
    for reason in report.broken:
        print(f'skipped: {reason}', file=sys.stderr)
    parts = [f'{report.images} images'] if report.images else []
    parts += [f'{report.frames} frames of {report.videos} videos'] if report.frames else []
    print(f'{summary(task, report.found)} in {" and ".join(parts)}: see {out_dir}')
    skipped = files - report.images - report.videos
    if skipped > 0:
        print(f'{skipped} of {files} files were skipped')
    if report.broken_frames:
        print(f'{report.broken_frames} of {report.frames + report.broken_frames} frames were skipped')


def to_record(result: Result, args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the json content of a result; ``name`` is shown for the file that it comes from."""
    options = dict(detection=dict(score_thr=args.score_thr), classification=dict(top_k=args.top_k))
    record = result.to_dict(**options.get(result.task, {}))
    return record | {key: name for key in ('image', 'video') if key in record}


def findings(record: dict[str, Any]) -> list[str]:
    """Return the names of the objects, of the classes that occur, or of the likeliest class."""
    if record['task'] == 'detection':
        return [entry['name'] for entry in record['objects']]
    return [entry['name'] for entry in record['classes'][: 1 if record['task'] == 'classification' else None]]


def summary(task: str, found: Counter[str], shown: int = 5) -> str:
    """Return how many objects were found, or in how many images a class occurs or is the likeliest."""
    names = ', '.join(f'{name} {count}' for name, count in found.most_common(shown))
    names += ', ...' if len(found) > shown else ''
    if task == 'detection':
        return f'{found.total()} objects ({names})' if found else '0 objects'
    return f'{len(found)} classes ({names})'


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the demo, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process()
    return run_cli(lambda: run(args))
