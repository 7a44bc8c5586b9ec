"""A model from its config, for whatever only runs it: inference, export, counting."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from mmhyena.apis.checks.building import config_errors
from mmhyena.apis.checks.values import check_model
from mmhyena.apis.pretrained import use_init_cfg

__all__ = ['build_model']


def build_model(cfg: Config) -> nn.Module:
    """Return the model of a config whose toolkit is in use, with the config as its ``cfg``.

    Weights that ``init_cfg`` names are not loaded.

    Raises:
        UserError: Naming the key of the config that is wrong.
    """
    check_model(cfg)
    use_init_cfg(cfg)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with config_errors(cfg):
        model: nn.Module = MODELS.build(cfg.model)
    model.cfg = cfg  # type: ignore[assignment]  # where the toolkits look for it
    return model
