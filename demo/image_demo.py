"""Draw what a model sees: python demo/image_demo.py IMAGES CONFIG CHECKPOINT, or IMAGES NAME_IN_THE_MODEL_INDEX."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhyena.utils.cli import prepare_process, run_cli

if TYPE_CHECKING:
    from mmhyena.apis.inference.results import Result


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Draw what a classifier, detector or segmentor sees in images.')
    parser.add_argument('images', help='a file, a folder or a glob in quotes')
    parser.add_argument('model', help='config file the model was trained with, or its name in the model index')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those that the model index names)')
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ... (default: an accelerator if there is one)")
    parser.add_argument('--out-dir', default='outputs', help='for pictures and json files (default: outputs)')
    parser.add_argument('--batch-size', type=int, default=1, help='images per forward pass (default: 1)')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score of shown objects (default: 0.3)')
    parser.add_argument('--opacity', type=float, default=0.45, help='of masks and label maps, 0 to 1 (default: 0.45)')
    parser.add_argument('--no-fuse', action='store_true', help='do not fuse the blocks of the model on a CPU')
    parser.add_argument('--top-k', type=int, default=5, help='classes shown for each classified image (default: 5)')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Write NAME.png and NAME.json for every image."""
    import mmcv
    from rich.progress import track

    from mmhyena.apis import Inferencer
    from mmhyena.apis.inference.images import find_images
    from mmhyena.utils.memory import keep_freed_memory

    keep_freed_memory()
    images = find_images(args.images)
    out_dir = make_folder(args.out_dir)
    inferencer = Inferencer(args.model, args.checkpoint, device=args.device, fuse=not args.no_fuse)
    stems = Counter(path.stem for path in images)
    results = inferencer.stream(images, batch_size=args.batch_size)
    found: Counter[str] = Counter()
    for path, result in track(zip(images, results), description='Inference', total=len(images)):
        # a.jpg and a.png in one folder must not overwrite each other.
        name = path.stem if stems[path.stem] == 1 else path.name
        record = to_record(result, args)
        found.update(findings(record))
        picture = inferencer.draw(result, args.score_thr, args.opacity, args.top_k)
        mmcv.imwrite(picture[..., ::-1], str(out_dir / f'{name}.png'))
        (out_dir / f'{name}.json').write_text(json.dumps(record, indent=1), encoding='utf-8')
    print(f'{summary(inferencer.task, found)} in {len(images)} images: pictures and json files are in {out_dir}')


def make_folder(name: str) -> Path:
    """Make a folder, and return it."""
    from mmhyena.apis import UserError

    try:
        Path(name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out-dir {name} cannot be made: {error.strerror}') from error
    return Path(name)


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
