"""MMEngine's ``FlexibleRunner`` and its strategy for DDP, with the checkpoints of its ``Runner``."""

from __future__ import annotations

from typing import Any

from mmengine._strategy import DDPStrategy as BaseDDPStrategy
from mmengine.model import is_model_wrapper
from mmengine.runner import FlexibleRunner as BaseFlexibleRunner
from mmengine.runner import weights_to_cpu
from torch import nn

from mmhyena.registry import RUNNERS, STRATEGIES

__all__ = ['DDPStrategy', 'FlexibleRunner']


@RUNNERS.register_module()
class FlexibleRunner(BaseFlexibleRunner):
    """:class:`mmengine.runner.FlexibleRunner` that resumes runs with a moving average. Arguments are those of MMEngine.

    MMEngine's calls the hooks' ``before_run`` after a checkpoint was loaded, but ``EMAHook`` makes the model that it
    loads the average into in ``before_run``. Here the order is that of :class:`mmengine.runner.Runner`.
    """

    _hooks_are_prepared = False

    def load_or_resume(self) -> None:
        """Load or resume a checkpoint, after ``before_run``."""
        self.call_hook('before_run')
        self._hooks_are_prepared = True
        super().load_or_resume()

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a method of all hooks, ``before_run`` once per run."""
        if fn_name == 'before_run' and self._hooks_are_prepared:
            self._hooks_are_prepared = False
            return
        super().call_hook(fn_name, **kwargs)


@STRATEGIES.register_module()
class DDPStrategy(BaseDDPStrategy):
    """:class:`mmengine._strategy.DDPStrategy` whose checkpoints name weights as those of a single process do.

    MMEngine's prefixes them with ``module.``, which ``EMAHook`` cannot save. Arguments are those of MMEngine.
    """

    model: nn.Module

    def model_state_dict(self) -> dict[str, Any]:
        """Return the weights of the model inside the wrapper, on the CPU."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return weights_to_cpu(model.state_dict())  # type: ignore[union-attr]
