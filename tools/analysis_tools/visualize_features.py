"""Draw feature maps of every stage and the class activation map of a trained model.

Feature maps: the first three principal components as red, green and blue. Class activation maps (extra `cam`):
Grad-CAM for classifiers and segmentors, EigenCAM for detectors. Writes a picture and a json per image.

Example:
    python tools/analysis_tools/visualize_features.py CONFIG CHECKPOINT photo.jpg --out-dir work_dirs/features
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhyena.utils.cli import add_verbose_argument, make_folder_of, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('images', nargs='+', help='files, folders or globs in quotes')
    parser.add_argument('--num', type=int, default=8, help='images at most of each source (default: 8)')
    parser.add_argument('--size', nargs=2, type=int, default=[512, 512], metavar=('H', 'W'), help='of the images')
    parser.add_argument('--level', type=int, default=-1, help='feature map of the activation map (default: the last)')
    parser.add_argument('--category', type=int, help='index of the class (default: a predicted one)')
    parser.add_argument('--no-cam', action='store_true', help='feature maps only')
    parser.add_argument('--device', help="'cpu', 'cuda', ... (default: an accelerator if there is one)")
    parser.add_argument('--out-dir', type=Path, default=Path('work_dirs/features'), help='folder of the results')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if args.num < 1 or min(args.size) < 32:
        parser.error('--num must be positive, --size at least 32 32')
    return args


def visualize(args: argparse.Namespace) -> None:
    """Write a picture and a json per image."""
    import torch

    from mmhyena.analysis.features import activation_map, principal_components
    from mmhyena.analysis.models import feature_maps, load_images, load_model
    from mmhyena.apis.toolkits import find_toolkit

    model = load_model(args.config, args.checkpoint, args.device)
    task = find_toolkit(model.cfg).task
    images = [image for source in args.images for image in load_images(model, source, args.size, args.num)]
    for number, image in enumerate(images):
        path = args.out_dir / f'features_{number}.png'
        make_folder_of(path, '--out-dir', ('.png',))
        x = image[None]
        pictures, record = [('image', stretch(image))], dict[str, Any](stages=[])
        with torch.no_grad():
            maps = feature_maps(model, x)
        for stage, feature in enumerate(maps):
            picture, shares = principal_components(feature[0])
            pictures.append((f'level {stage}: PCA, {sum(shares):.0%} of variance', picture))
            record['stages'].append(dict(level=stage, shape=list(feature[0].shape), variance_shares=shares))
        heat = None
        if not args.no_cam:
            heat, record['activation_map'] = activation_map(model, task, x, args.level, args.category)
        draw(path, pictures, heat, record.get('activation_map'))
        path.with_suffix('.json').write_text(json.dumps(record, indent=2), encoding='utf-8')
        print(f'{path} and {path.with_suffix(".json")} are written')


def stretch(image: Any) -> Any:
    """Return a normalized image ``(3, H, W)`` as ``(H, W, 3)`` in [0, 1]."""
    array = image.detach().cpu().numpy().transpose(1, 2, 0)
    return (array - array.min()) / max(array.max() - array.min(), 1e-6)


def draw(path: Path, pictures: list[tuple[str, Any]], heat: Any, about: dict[str, Any] | None) -> None:
    """Draw image, feature maps and, over the image, the activation map side by side."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    count = len(pictures) + (heat is not None)
    figure, axes = plt.subplots(1, count, figsize=(3 * count, 3.3), squeeze=False)
    for axis, (title, picture) in zip(axes[0], pictures):
        axis.imshow(picture)
        axis.set_title(title, fontsize=8)
    if heat is not None and about is not None:
        axes[0, -1].imshow(pictures[0][1])
        axes[0, -1].imshow(heat, cmap='jet', alpha=0.5, vmin=0, vmax=1)
        category = '' if about['category'] is None else f', class {about["category"]}'
        axes[0, -1].set_title(f'{about["method"]}{category}', fontsize=8)
    for axis in axes[0]:
        axis.axis('off')
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, and return the exit code."""
    args = parse_args(argv)
    prepare_process()
    return run_cli(lambda: visualize(args))


if __name__ == '__main__':
    sys.exit(main())
