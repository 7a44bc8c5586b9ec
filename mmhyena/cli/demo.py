"""Draw what a model sees: mmhyena demo IMAGES CONFIG CHECKPOINT, or IMAGES NAME_IN_THE_MODEL_INDEX."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhyena.errors import UserError
from mmhyena.utils.cli import add_verbose_argument, make_folder, prepare_process, run_cli
from mmhyena.utils.output_names import output_names

if TYPE_CHECKING:
    from mmhyena.apis.inference.results import Result


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description='Draw what a classifier, detector or segmentor sees in images.'
    )
    parser.add_argument('images', help='a file, a folder or a glob in quotes')
    parser.add_argument('model', help='config file the model was trained with, or its name in the model index')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those that the model index names)')
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ... (default: an accelerator if there is one)")
    parser.add_argument('--out-dir', default='outputs', help='for pictures and json files (default: outputs)')
    parser.add_argument('--batch-size', type=int, default=1, help='images per forward pass (default: 1)')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score of shown objects (default: 0.3)')
    parser.add_argument('--opacity', type=float, default=0.45, help='of masks and label maps, 0 to 1 (default: 0.45)')
    parser.add_argument('--max-pixels', type=int, default=50_000_000, help='largest image taken (default: 50000000)')
    parser.add_argument('--no-fuse', action='store_true', help='do not fuse the blocks of the model on a CPU')
    parser.add_argument('--amp', action='store_true', help='bfloat16 autocast; long convolutions stay in float32')
    parser.add_argument('--top-k', type=int, default=5, help='classes shown for each classified image (default: 5)')
    add_verbose_argument(parser)
    return parser.parse_args(argv)


def check_args(args: argparse.Namespace) -> None:
    """Check numbers before anything is loaded.

    Raises:
        UserError: Naming the option that is out of range.
    """
    for option in ('batch_size', 'top_k', 'max_pixels'):
        if getattr(args, option) < 1:
            raise UserError(f'--{option.replace("_", "-")} {getattr(args, option)}: give at least 1')
    for option in ('score_thr', 'opacity'):
        if not 0 <= getattr(args, option) <= 1:
            raise UserError(f'--{option.replace("_", "-")} {getattr(args, option)}: give a number from 0 to 1')


def run(args: argparse.Namespace) -> None:
    """Write NAME.png and NAME.json for every image, in folders as those of the images."""
    import mmcv
    from rich.progress import track

    from mmhyena.apis import Inferencer
    from mmhyena.apis.inference.images import find_images
    from mmhyena.utils.memory import keep_freed_memory

    check_args(args)
    keep_freed_memory()
    images = find_images(args.images)
    out_dir = make_folder(args.out_dir, '--out-dir')
    targets = output_names(images, out_dir, '--out-dir')
    inferencer = Inferencer(
        args.model,
        args.checkpoint,
        device=args.device,
        fuse=not args.no_fuse,
        max_pixels=args.max_pixels,
        amp=args.amp,
    )
    broken: list[str] = []
    results = inferencer.stream(images, batch_size=args.batch_size, skipped=lambda _, error: broken.append(str(error)))
    found: Counter[str] = Counter()
    drawn = 0
    for result in track(results, description='Inference', total=len(images)):
        target = targets[str(result.source)]
        target.parent.mkdir(parents=True, exist_ok=True)
        record = to_record(result, args)
        found.update(findings(record))
        picture = inferencer.draw(result, args.score_thr, args.opacity, args.top_k)
        if not mmcv.imwrite(picture[..., ::-1], f'{target}.png'):
            raise UserError(f'{target}.png cannot be written')
        Path(f'{target}.json').write_text(json.dumps(record, indent=1), encoding='utf-8')
        drawn += 1
    if not drawn:
        raise UserError(broken[0] + (f' (and {len(broken) - 1} more)' if len(broken) > 1 else ''))
    for reason in broken:
        print(f'skipped: {reason}', file=sys.stderr)
    print(f'{summary(inferencer.task, found)} in {drawn} images: pictures and json files are in {out_dir}')
    if broken:
        print(f'{len(broken)} of {len(images)} files were skipped')


def to_record(result: Result, args: argparse.Namespace) -> dict[str, Any]:
    """Return what goes into the json file."""
    options = dict(detection=dict(score_thr=args.score_thr), classification=dict(top_k=args.top_k))
    return result.to_dict(**options.get(result.task, {}))


def findings(record: dict[str, Any]) -> list[str]:
    """Return the names of the objects, of the classes that occur, or of the likeliest class."""
    if record['task'] == 'detection':
        return [entry['name'] for entry in record['objects']]
    return [entry['name'] for entry in record['classes'][: 1 if record['task'] == 'classification' else None]]


def summary(task: str, found: Counter[str], shown: int = 5) -> str:
    """Return what was found: how many objects, in how many images a class occurs or is the likeliest."""
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
