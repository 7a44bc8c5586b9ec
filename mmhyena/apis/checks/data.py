"""The data check, before a model is built: what the splits of a config hold, and whether the model is made for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmhyena.apis.checks.category_order import number_by_name
from mmhyena.apis.checks.coco import check_coco, same_annotations
from mmhyena.apis.checks.folders import check_class_folders, check_list, class_folders, folders_error
from mmhyena.apis.checks.heads import heads_error
from mmhyena.apis.checks.images import check_headers
from mmhyena.apis.checks.masks import check_label_maps
from mmhyena.apis.checks.nodes import dicts, find_class, short_name
from mmhyena.apis.checks.report import SplitReport, first
from mmhyena.apis.checks.sources import build_lazily, dataset_nodes, missing_path, with_masks
from mmhyena.errors import UserError, one_line

__all__ = ['check_data', 'inspect_data', 'saved_classes']

_SPLITS = ('train', 'val', 'test')
_REPORT = 'python tools/dataset_checks/check_dataset.py CONFIG shows all'


def saved_classes(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes that a checkpoint was trained on, if it has them."""
    meta = checkpoint.get('meta')
    found = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    classes = found.get('classes') if isinstance(found, Mapping) else None
    return tuple(classes) if isinstance(classes, (list, tuple)) and classes else None


def check_data(
    cfg: Config, splits: Sequence[str], classes: tuple[str, ...] | None = None, *, evaluated: bool = True
) -> list[str]:
    """Check the data of ``splits`` against itself and against the model.

    Class folders of a split that lacks some are numbered by the names of the classes, in place of their own order.

    Args:
        cfg: The config; ``data_check=dict(enable=True, num_images=500, num_label_maps=100)`` are its settings.
        splits: 'train', 'val' and 'test', as many as are read.
        classes: Names of the classes that a checkpoint was trained on. Default: those of the training set.
        evaluated: Whether the evaluators of the splits are used.

    Returns:
        What is unusual, one line each, to be logged.

    Raises:
        UserError: With the first problem, and how many more there are.
    """
    if not (cfg.get('data_check') or {}).get('enable', True):
        return []
    reports = inspect_data(cfg, splits, classes, evaluated=evaluated)
    problems = list(dict.fromkeys(problem for report in reports for problem in report.problems))
    if problems:
        more = f' (and {len(problems) - 1} more: {_REPORT})' if len(problems) > 1 else ''
        raise UserError(f'{problems[0]}{more}')
    return [f'data check: {note}' for report in reports for note in report.notes]


def inspect_data(
    cfg: Config, splits: Sequence[str], classes: tuple[str, ...] | None = None, *, evaluated: bool = True
) -> list[SplitReport]:
    """Return what the data sets of ``splits`` hold, with all problems; see :func:`check_data`."""
    reference: tuple[tuple[str, ...] | None, str] = (classes, 'the checkpoint')
    reports, metas = [], {}
    for split in splits:
        for key, node in dataset_nodes(cfg, split):
            report = SplitReport(split, key, short_name(node.get('type', '?')))
            reports.append(report)
            metas[key] = _inspect(cfg, report, node, reference if reference[0] else _training_classes(cfg, split))
            if reference[0] is None and split == 'train' and report.classes:
                reference = report.classes, 'the training set'
            if report.problems:
                continue
            _check_classes(cfg, report, metas[key], reference)
            if evaluated:
                _check_evaluator(cfg, report)
            if report.by_name:
                number_by_name(cfg, report, node)
    _check_zero_labels(cfg, reports, metas)
    return reports


def _training_classes(cfg: Config, split: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the class folders of the training set, when a test set is read on its own."""
    if split != 'train':
        for key, node in dataset_nodes(cfg, 'train'):
            try:
                dataset: Any = build_lazily(key, node)
                if _reads_folders(dataset) and Path(dataset.img_prefix).is_dir():
                    return dataset.metainfo.get('classes') or class_folders(dataset.img_prefix), 'the training set'
            except (UserError, OSError):  # the training set need not be at hand for a test
                continue
    return None, ''


def _inspect(
    cfg: Config, report: SplitReport, node: Any, reference: tuple[tuple[str, ...] | None, str]
) -> Mapping[str, Any]:
    """Fill the report on one data set, and return the data set's meta information."""
    missing = missing_path(report.split, report.key, node) or _classes_error(report.key, node)
    if missing:
        report.problem(missing)
        return {}
    try:
        dataset = build_lazily(report.key, node)
        meta = _metainfo(dataset, node)
        report.classes = tuple(meta['classes']) if meta.get('classes') else None
        if dataset is not None and not _is_remote(dataset):
            meta = {**meta, **(_look_at(cfg, report, node, dataset, reference) or {})}
    except UserError as error:
        report.problem(str(error))
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
        report.problem(f'{report.key}: {one_line(error)}')
        return {}
    return meta


def _metainfo(dataset: Any, node: Mapping[str, Any]) -> dict[str, Any]:
    if dataset is not None:
        return dict(dataset.metainfo)
    return {**getattr(find_class(DATASETS, node['type']), 'METAINFO', {}), **(node.get('metainfo') or {})}


def _is_remote(dataset: Any) -> bool:
    prefix = getattr(dataset, 'data_prefix', None)
    places = [getattr(dataset, 'ann_file', ''), *(prefix.values() if isinstance(prefix, dict) else (prefix,))]
    return any('://' in str(place) for place in places)


def _classes_error(key: str, node: Mapping[str, Any]) -> str | None:
    """Return that the names of the classes are no sequence of different names."""
    for name, holder in (('metainfo.classes', node.get('metainfo') or {}), ('classes', node)):
        classes = holder.get('classes') if isinstance(holder, dict) else None
        if classes is None or (isinstance(classes, str) and Path(classes).is_file()):
            continue
        if isinstance(classes, str):
            return f"{key}.{name} is the text {classes!r}, not a sequence of names: write ('{classes}',)"
        if not isinstance(classes, (list, tuple)) or not all(isinstance(entry, str) for entry in classes):
            return f'{key}.{name} must be a sequence of names, got {classes!r}'
        if not classes or len(set(classes)) < len(classes):
            return f'{key}.{name} must hold names that all differ, got {first(classes, 10)}'
    return None


def _look_at(
    cfg: Config, report: SplitReport, node: Any, dataset: Any, reference: tuple[tuple[str, ...] | None, str]
) -> dict[str, Any] | None:
    """Look at the files of a data set, each kind in its own way."""
    settings = cfg.get('data_check') or {}
    num_images = settings.get('num_images', 500)
    if _overrides_nothing(dataset, 'mmdet.datasets', 'CocoDataset', 'load_data_list', 'parse_data_info'):
        report.source = dataset.ann_file
        check_coco(
            report,
            dataset.ann_file,
            dataset.data_prefix.get('img') or '',
            masks=with_masks(cfg, report.split, node),
            crowd=report.split != 'train',
            num_images=num_images,
            upright=_upright(node),
        )
    elif _overrides_nothing(dataset, 'mmseg.datasets', 'BaseSegDataset', 'load_data_list'):
        return _look_at_label_maps(report, node, dataset, settings.get('num_label_maps', 100))
    elif _reads_folders(dataset):
        report.source = dataset.img_prefix
        _look_at_folders(report, node, dataset, reference, num_images)
    elif _overrides_nothing(dataset, 'mmpretrain.datasets', 'CustomDataset', 'load_data_list') and dataset.ann_file:
        report.source = dataset.ann_file
        if getattr(dataset, 'with_label', False):
            check_list(report, dataset.ann_file, dataset.img_prefix, num_images)
    elif type(dataset).__module__.startswith(('mmpretrain.', 'mmhyena.')):
        dataset.full_init()
        report.images, report.source = len(dataset), str(getattr(dataset, 'data_root', '') or '')
        report.classes = tuple(dataset.metainfo.get('classes') or ()) or None
    return None


def _overrides_nothing(dataset: Any, module: str, name: str, *methods: str) -> bool:
    """Whether a data set reads its files as the toolkit's class of that name does."""
    base = next(
        (cls for cls in type(dataset).__mro__ if cls.__name__ == name and cls.__module__.startswith(module)), None
    )
    return base is not None and all(getattr(type(dataset), method) is getattr(base, method) for method in methods)


def _reads_folders(dataset: Any) -> bool:
    reads = _overrides_nothing(dataset, 'mmpretrain.datasets', 'CustomDataset', 'load_data_list')
    return reads and not dataset.ann_file and bool(getattr(dataset, 'with_label', False))


def _upright(node: Mapping[str, Any]) -> bool:
    loading: Mapping[str, Any] = next(
        (t for t in node.get('pipeline') or () if 'LoadImage' in short_name(t.get('type', ''))), {}
    )
    color = loading.get('color_type', 'color')
    return 'ignore_orientation' not in color and color != 'unchanged'


def _look_at_label_maps(report: SplitReport, node: Any, dataset: Any, num: int) -> dict[str, Any]:
    prefix = dataset.data_prefix
    report.source = prefix.get('img_path') or ''
    # Only a data set with classes of its own maps labels to the classes asked for.
    fixed_labels = not type(dataset).METAINFO.get('classes')
    meta = {'reduce_zero_label': dataset.reduce_zero_label, 'fixed_labels': fixed_labels}
    if not Path(report.source).is_dir():
        report.problem(f'{report.split} data {report.source} does not exist: correct {report.key}.data_prefix.img_path')
        return meta
    samples = dataset.load_data_list()
    report.images = len(samples)
    if not samples:
        suffixes = sorted({path.suffix for path in Path(report.source).iterdir() if path.suffix})
        report.problem(
            f'{report.split} data {report.source} has no image that ends in {dataset.img_suffix}: set '
            f'{report.key}.img_suffix to one of {first(suffixes) or "those of your images"}'
        )
        return meta
    pairs = [(sample['img_path'], sample['seg_map_path']) for sample in samples if 'seg_map_path' in sample]
    check_headers(report, [sample['img_path'] for sample in samples], None, 0)
    if pairs and not report.problems:
        check_label_maps(
            report,
            pairs,
            reduce_zero_label=dataset.reduce_zero_label,
            label_map=dataset.label_map,
            ignore_index=dataset.ignore_index,
            num=num,
        )
    for transform in node.get('pipeline') or ():
        asked = transform.get('reduce_zero_label')
        if short_name(transform.get('type', '')) == 'LoadAnnotations' and asked not in (
            None,
            dataset.reduce_zero_label,
        ):
            report.problem(
                f'{report.key}.reduce_zero_label is {dataset.reduce_zero_label}, but its LoadAnnotations has {asked}: '
                'set both by the variable: --cfg-options reduce_zero_label=True or False'
            )
    return meta


def _look_at_folders(
    report: SplitReport, node: Any, dataset: Any, reference: tuple[tuple[str, ...] | None, str], num: int
) -> None:
    """Look at class folders, and have them numbered by the names of the classes where their own order differs."""
    root = dataset.img_prefix
    if not Path(root).is_dir():
        report.problem(f'{report.split} data {root} does not exist: correct {report.key}.data_prefix')
        return
    check_class_folders(report, root, dataset.extensions, num)
    folders = class_folders(root)
    wanted, source = (report.classes, f'{report.key}.metainfo') if report.classes else reference
    if report.problems:
        return
    if wanted is None or tuple(wanted) == folders:
        report.classes = folders
        return
    if not set(wanted) & set(folders):  # readable names for folders that are called otherwise
        if report.classes is None or len(wanted) != len(folders):
            report.problem(
                f'{report.split} data {root} has the {len(folders)} class folders {first(folders)}, and {source} the '
                f'{len(wanted)} classes {first(wanted)}: make them the same'
            )
        return
    error = folders_error(report, folders, wanted, source)
    if error:
        report.problem(error)
        return
    lacking = [name for name in wanted if name not in folders]
    if lacking:
        report.notes.append(f'{report.split}: no class folder {first(lacking)}; the others are numbered as in {source}')
    report.classes = tuple(wanted)
    node['type'] = 'mmhyena.ClassFolders'
    node['metainfo'] = {**(node.get('metainfo') or {}), 'classes': tuple(wanted)}


def _check_classes(
    cfg: Config, report: SplitReport, meta: Mapping[str, Any], reference: tuple[tuple[str, ...] | None, str]
) -> None:
    """Compare the classes of a split with those trained on, and with the heads of the model."""
    known, source = reference
    if report.classes is None:
        if report.unit == 'images' and report.counts:
            error = heads_error(cfg, None, len(report.counts), meta, f'the {report.split} set')
            # A list may lack the last classes; its labels must not go beyond the head's.
            if error and (found := _head_size(error)) is not None and found < len(report.counts):
                report.problem(error)
        return
    if known and known != report.classes:
        same = sorted(known) == sorted(report.classes)
        if same or len(known) != len(report.classes):
            how = 'the classes in another order' if same else f'{len(report.classes)} classes'
            remedy = f'set {report.key}.metainfo.classes to those'
            if same and meta.get('fixed_labels'):
                remedy = 'write the label maps in that order, or correct the names if they are wrong'
            report.problem(
                f'{report.split} data has {how} ({first(report.classes, 10)}), but {source} has {len(known)} '
                f'({first(known, 10)}): {remedy}'
            )
            return
        report.notes.append(f'{report.split}: classes are called {first(report.classes)}, in {source} {first(known)}')
    error = heads_error(cfg, report.classes, len(report.classes), meta, f'the {report.split} set')
    if error:
        report.problem(error)


def _head_size(error: str) -> int | None:
    words = error.split(' is ', 1)[1].split(',', 1)[0]
    return int(words) if words.isdigit() else None


def _check_evaluator(cfg: Config, report: SplitReport) -> None:
    """Check that a COCO metric measures on the annotations of the split's data set."""
    if report.split == 'train' or report.unit != 'objects' or len(list(dataset_nodes(cfg, report.split))) > 1:
        return
    name = f'{report.split}_evaluator'
    for key, node in dicts({name: cfg.get(name)}):
        file = node.get('ann_file')
        if short_name(node.get('type', '')) != 'CocoMetric' or not file or '://' in file:
            continue
        same = same_annotations(file, report.source) if Path(file).exists() else f'{file} does not exist'
        if same is not True:
            found = f'{file} has other images, objects or categories' if same is False else same
            own = report.source
            report.problem(f'{key}.ann_file: {found}; the {report.split} set reads {own}: set {key}.ann_file={own}')


def _check_zero_labels(cfg: Config, reports: Sequence[SplitReport], metas: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that all splits ignore label 0, or none."""
    found = {report.key: metas[report.key].get('reduce_zero_label') for report in reports}
    found = {key: value for key, value in found.items() if value is not None}
    if len(set(found.values())) > 1:
        listed = ', '.join(f'{key}.reduce_zero_label={value}' for key, value in found.items())
        reports[-1].problem(
            f'splits disagree on label 0: {listed}: set the variable, which reaches all: --cfg-options '
            'reduce_zero_label=True or False'
        )
