"""Draw what a trained detector finds: python demo/image_demo.py IMAGES CONFIG CHECKPOINT."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmhyena.apis.cli import prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description='Draw what a trained detector finds in images.')
    parser.add_argument('images', help='a file, a folder or a glob in quotes')
    parser.add_argument('config', help='config file the model was trained with')
    parser.add_argument('checkpoint', help='weights')
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ... (default: an accelerator if there is one)")
    parser.add_argument('--out-dir', default='outputs', help='for pictures and json files (default: outputs)')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that is shown (default: 0.3)')
    parser.add_argument('--batch-size', type=int, default=1, help='images per forward pass (default: 1)')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Write NAME.png and NAME.json for every image."""
    import mmcv
    from rich.progress import track

    from mmhyena.apis.inferencer import Inferencer, find_images

    images = find_images(args.images)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    inferencer = Inferencer(args.config, args.checkpoint, device=args.device)
    stems = Counter(path.stem for path in images)
    results = inferencer.stream(images, batch_size=args.batch_size)
    count = 0
    for path, result in track(zip(images, results), description='Inference', total=len(images)):
        # a.jpg and a.png in one folder must not overwrite each other.
        name = path.stem if stems[path.stem] == 1 else path.name
        record = result.to_dict(args.score_thr)
        count += len(record['objects'])
        mmcv.imwrite(inferencer.draw(result, args.score_thr)[..., ::-1], str(out_dir / f'{name}.png'))
        (out_dir / f'{name}.json').write_text(json.dumps(record, indent=1), encoding='utf-8')
    print(f'{count} objects in {len(images)} images: pictures and json files are in {out_dir}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
