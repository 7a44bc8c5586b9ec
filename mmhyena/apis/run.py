"""Training and testing of any config, whichever toolkit it is written for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmhyena.apis.amp import use_bfloat16
from mmhyena.apis.checks.building import config_errors
from mmhyena.apis.checks.data import check_data, saved_classes
from mmhyena.apis.checks.pipelines import name_files
from mmhyena.apis.config import adapt_to_device, check_config, default_work_dir, load_config
from mmhyena.apis.distributed import build_runner, join_cpu_group
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.apis.pretrained import check_pretrained, use_init_cfg
from mmhyena.apis.resume import make_resumable, resume_from, run_training
from mmhyena.apis.toolkits import Toolkit, use_toolkit
from mmhyena.apis.weights import load_weights
from mmhyena.checkpoints import read_checkpoint
from mmhyena.engine import DrawPredictionsHook, FlexibleRunner
from mmhyena.errors import UserError
from mmhyena.utils.cli import make_folder, make_folder_of
from mmhyena.utils.memory import keep_freed_memory

__all__ = ['evaluate', 'train']


def train(
    config: str | Path,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    auto_scale_lr: bool = False,
) -> Runner:
    """Train a classifier, detector or segmentor; the toolkit is found from the config's ``default_scope``.

    Args:
        config: Config file.
        work_dir: Where logs and checkpoints go. Default: the config's, else ``work_dirs/<config name>``.
        resume: ``'auto'`` for the latest checkpoint in ``work_dir``, if there is any, or a checkpoint file.
        amp: Train in mixed precision: float16 on a GPU, bfloat16 on a CPU.
        cfg_options: Overrides with dotted keys.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        auto_scale_lr: Scale the learning rate by the ratio of the actual to the config's base batch size.

    Returns:
        The runner after training.

    Raises:
        UserError: For wrong input.
    """
    cfg, _ = _prepare(config, work_dir, cfg_options, launcher)
    if 'train_dataloader' not in cfg:
        raise UserError(f'config {config} has no train_dataloader: it can be tested, not trained')
    notes = check_config(cfg, ('train', 'val'))
    adapt_to_device(cfg, amp)
    join_cpu_group(cfg)
    if auto_scale_lr:
        if not cfg.get('auto_scale_lr', {}).get('base_batch_size'):
            raise UserError(f'--auto-scale-lr needs auto_scale_lr.base_batch_size, which {config} does not set')
        cfg.auto_scale_lr.enable = True
    notes += check_data(cfg, ('train', 'val'))
    checkpoint = resume_from(cfg, resume)
    make_resumable(cfg)
    check_pretrained(cfg)
    with config_errors(cfg):
        runner = build_runner(cfg)
        name_files(runner)
        _log_notes(runner, notes)
        if checkpoint is not None:
            if isinstance(runner, FlexibleRunner):  # would build its model when it trains
                runner.model = runner.strategy.build_model(runner.model)
            load_weights(_unwrap(runner.model), checkpoint, cfg.load_from)
            del checkpoint
        run_training(runner)
    return runner


def evaluate(
    config: str | Path,
    checkpoint: str | Path | None = None,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    tta: bool = False,
    fuse: bool = True,
    amp: bool = False,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    hooks: Sequence[Hook] = (),
) -> dict[str, float]:
    """Evaluate a checkpoint on the test set of a config.

    Args:
        config: Config file.
        checkpoint: Weights; every tensor has to fit. An official classifier is converted, with a report in the log.
            None for an ensemble, which takes the checkpoints that its members name.
        work_dir: Where logs go. Default: the config's, else ``work_dirs/<config name>``.
        out: ``*.json`` for the metrics, ``*.pkl`` for all predictions.
        show_dir: Where to draw the predictions on every image.
        tta: Test-time augmentation as the config's ``tta_model`` and ``tta_pipeline`` say.
        fuse: Whether to fuse the model on a CPU, see :func:`mmhyena.apis.fuse_for_inference`.
        amp: Whether to run under bfloat16 autocast, see :func:`mmhyena.apis.amp.use_bfloat16`.
        cfg_options: Overrides with dotted keys.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        hooks: Further hooks of the run.

    Returns:
        The metrics.

    Raises:
        UserError: For wrong input, a checkpoint that does not fit included.
    """
    if out is not None:
        make_folder_of(out, '--out', ('.json', '.pkl'))
    weights = {} if checkpoint is None else read_checkpoint(checkpoint)
    cfg, toolkit = _prepare(config, work_dir, cfg_options, launcher)
    notes = check_config(cfg, ('test',))
    adapt_to_device(cfg)
    join_cpu_group(cfg)
    notes += check_data(cfg, ('test',), saved_classes(weights))
    if show_dir is not None:
        hooks = [*hooks, _drawing_hook(cfg, show_dir)]
    if tta:
        _use_tta(cfg)
    cfg.load_from, cfg.resume = None, False
    with config_errors(cfg):
        runner = Runner.from_cfg(cfg)
        name_files(runner)
        _log_notes(runner, notes)
        model = _unwrap(runner.model)
        tested = cast(nn.Module, model.module) if tta else model
        if checkpoint is None:
            _load_members(tested, cfg)
        else:
            # MMEngine's own loader would take other weights of a checkpoint with a moving average than those checked.
            load_weights(tested, weights, checkpoint)
            runner.logger.info(f'Loaded {checkpoint}')
        if fuse and get_device() == 'cpu':
            fuse_for_inference(model)
        if amp:
            use_bfloat16(tested, get_device())
        if out is not None and out.endswith('.pkl'):
            runner.test_evaluator.metrics.append(_dump_predictions(toolkit, out))
        for hook in hooks:
            runner.register_hook(hook)
        metrics = runner.test()
        if out is not None and out.endswith('.json') and is_main_process():
            mmengine.dump({key: float(value) for key, value in metrics.items()}, out, indent=2)
        return metrics


def _log_notes(runner: Runner, notes: list[str]) -> None:
    for note in notes:
        runner.logger.warning(note)


def _load_members(model: nn.Module, cfg: Config) -> None:
    """Load the checkpoints that the members of an ensemble name."""
    if not hasattr(model, 'load_members'):
        raise UserError(f'name a checkpoint: {cfg.filename} is no ensemble, whose members name theirs')
    check_pretrained(cfg)
    cast(Any, model).load_members()


def _prepare(
    config: str | Path, work_dir: str | None, cfg_options: Mapping[str, Any] | None, launcher: str
) -> tuple[Config, Toolkit]:
    keep_freed_memory()
    cfg = load_config(config, cfg_options)
    toolkit = use_toolkit(cfg)
    use_init_cfg(cfg)
    cfg.launcher = launcher
    cfg.work_dir = work_dir or cfg.get('work_dir') or default_work_dir(cfg)
    make_folder(cfg.work_dir, '--work-dir')
    return cfg, toolkit


def _drawing_hook(cfg: Config, show_dir: str) -> Hook:
    """Return a hook that draws every test image, with the score threshold of the config's own visualization."""
    settings = cfg.get('default_hooks', {}).get('visualization') or {}
    return DrawPredictionsHook(str(make_folder(show_dir, '--show-dir')), settings.get('score_thr', 0.3))


def _use_tta(cfg: Config) -> None:
    for key in ('tta_model', 'tta_pipeline'):
        if cfg.get(key) is None:
            raise UserError(f'--tta needs {key}, which {cfg.filename} does not set')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline


def _dump_predictions(toolkit: Toolkit, out: str) -> DumpResults:
    if toolkit.task == 'detection':
        from mmdet.evaluation import DumpDetResults

        return DumpDetResults(out_file_path=out)
    return DumpResults(out_file_path=out)


def _unwrap(model: nn.Module) -> nn.Module:
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model
