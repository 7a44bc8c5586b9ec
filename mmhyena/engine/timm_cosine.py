"""timm's cosine schedule of the learning rate as a parameter scheduler of MMEngine."""

from __future__ import annotations

import math
from typing import Any

from mmengine.optim import _ParamScheduler

from mmhyena.registry import PARAM_SCHEDULERS

__all__ = ['TimmCosineLR']


@PARAM_SCHEDULERS.register_module()
class TimmCosineLR(_ParamScheduler):
    """Cosine annealing whose first part is a linear warm-up, with the values of timm's ``CosineLRScheduler``.

    At step ``t`` the learning rate of a group with the base rate ``lr`` is::

        warmup_lr + (lr - warmup_lr) * t / warmup                         t < warmup
        eta_min + (lr - eta_min) * (1 + cos(pi * (t - s) / T_max)) / 2    warmup <= t < s + T_max
        eta_min                                                           from then on (cool-down)

    with ``s = warmup`` if ``warmup_prefix``, else 0: the cosine is then counted from the start, so that the rate after
    the warm-up is already below ``lr``. ``LinearLR`` followed by ``CosineAnnealingLR`` is another schedule.

    The rate is a function of the step alone, so a resumed run continues with the same values.

    Args:
        optimizer: Optimizer or optimizer wrapper.
        T_max (int): Length of the cosine in epochs.
        eta_min (float): Final rate, the same for all parameter groups. Defaults to 0.
        warmup (int): Length of the warm-up in epochs. Defaults to 0.
        warmup_lr (float): Rate of the first epoch, if there is a warm-up. Defaults to 0.
        warmup_prefix (bool): Whether the cosine starts after the warm-up instead of with it. Defaults to False.
        lag (int): How many steps the rate is behind. 1 is for training code that steps the scheduler with the index of
            the epoch just finished, as DeiT's and IBiT's does: the first rate then serves for two epochs. Defaults to
            0.
        **kwargs: ``begin``, ``end``, ``by_epoch``, ``last_step`` and ``verbose`` of MMEngine's schedulers.

    Raises:
        ValueError: If ``T_max`` is not positive or ``warmup`` or ``lag`` is negative.

    Example:
        >>> param_scheduler = [dict(type='mmhyena.TimmCosineLR', T_max=300, eta_min=1e-5, warmup=20, warmup_lr=1e-6)]
    """

    def __init__(
        self,
        optimizer: Any,
        T_max: int,
        eta_min: float = 0.0,
        warmup: int = 0,
        warmup_lr: float = 0.0,
        warmup_prefix: bool = False,
        lag: int = 0,
        **kwargs: Any,
    ) -> None:
        if T_max <= 0 or warmup < 0 or lag < 0:
            raise ValueError(
                f'TimmCosineLR needs T_max > 0, warmup >= 0 and lag >= 0; got T_max={T_max}, warmup={warmup}, lag={lag}'
            )
        self.T_max = T_max
        self.eta_min = eta_min
        self.warmup = warmup
        self.warmup_lr = warmup_lr
        self.warmup_prefix = warmup_prefix
        self.lag = lag
        super().__init__(optimizer, 'lr', **kwargs)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: Any,
        T_max: int,
        warmup: int = 0,
        begin: int = 0,
        end: int | None = None,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> TimmCosineLR:
        """Build a scheduler that steps every iteration from lengths in epochs (``convert_to_iter_based=True``).

        Args:
            optimizer: As of the class, and so the other arguments; ``lag`` then counts iterations.
            T_max: In epochs.
            warmup: In epochs.
            begin: In epochs.
            end: In epochs.
            by_epoch: Must be True.
            epoch_length: Iterations per epoch.
            **kwargs: Further arguments of the class.

        Raises:
            ValueError: If the lengths are not in epochs, or the length of an epoch is not known.
        """
        if not by_epoch or not epoch_length:
            raise ValueError('convert_to_iter_based needs by_epoch=True and a training set of known length')
        if end is not None:
            kwargs['end'] = end * epoch_length
        return cls(
            optimizer,
            T_max=T_max * epoch_length,
            warmup=warmup * epoch_length,
            begin=begin * epoch_length,
            by_epoch=False,
            **kwargs,
        )

    def _get_value(self) -> list[float]:
        """Return the rate of every parameter group at the current step."""
        step = max(self.last_step - self.lag, 0)
        return [self._rate(step, base) for base in self.base_values]

    def _rate(self, step: int, base: float) -> float:
        if step < self.warmup:
            return self.warmup_lr + (base - self.warmup_lr) * step / self.warmup
        step -= self.warmup if self.warmup_prefix else 0
        if step >= self.T_max:
            return self.eta_min
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2
