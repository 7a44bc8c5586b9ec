"""One run of the small-data comparison: the data, the models and the recipe that all of them share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from mmhyena.datasets.shapes import CLASSES, render_single
from mmhyena.registry import MODELS

# Transformers see 16 patches of a digit and 36 of a Shapes image.
DATASETS = {
    'digits': dict(classes=10, channels=1, img_size=8, patch_size=2),
    'shapes': dict(classes=len(CLASSES), channels=3, img_size=36, patch_size=6),
}
SHAPES_POOL, SHAPES_HELD_OUT = 1500, 1000
DIGITS_POOL = 1000
VALIDATION_SHARE = 0.4
EVALUATION_BATCH = 500
LIKELY_MARGIN = 5.0

_HYENA = dict(type='HyenaND', direction='alternating', filter_width=16)
_PRODUCT = dict(_HYENA, filter='product')
_PYRAMID = dict(
    type='mmhyena.HyenaFormer',
    arch=dict(
        depths=(1, 1, 1, 1),
        channels=(16, 24, 32, 40),
        token_mixers=[dict(type='HyenaPixel', kernel_size=k, position_dim=16) for k in (15, 7, 3, 3)],
    ),
    out_indices=(3,),
    gap_before_final_norm=True,
)
_VIT = dict(type='mmhyena.HyenaViT', arch=dict(embed_dims=32, num_layers=4, num_heads=2))
_IBIT = dict(
    token_mixers='attention',
    attention=dict(type='LearnedMaskAttention', rank=9),
    with_cls_token=True,
    position='sincos',
    residual_from_norm=True,
    final_norm=False,
)
MODEL_CONFIGS = {
    'attention': dict(_VIT, token_mixers='attention'),
    'hyena-joint': dict(_VIT, token_mixers='hyena', hyena=_HYENA),
    'hyena-product': dict(_VIT, token_mixers='hyena', hyena=_PRODUCT),
    'hyena-first': dict(_VIT, token_mixers='hyena_first', hyena=_HYENA),
    'ibit': dict(_VIT, **_IBIT),
    'hyenapixel': _PYRAMID,
}


@dataclass(frozen=True)
class Recipe:
    """What all models share. The rate is constant until the training set is fitted, then falls to zero.

    Attributes:
        batch_size: Images a step, or all of a smaller training set.
        weight_decay: Of the weights of linear layers and convolutions; filters, masks and positions have none.
        warmup: Steps in which the rate rises to its value.
        check_every: Steps between two looks at the accuracy on the training set.
        fit: Accuracy on the training set, in percent, at which it counts as fitted.
        cap: Steps after which a run that does not fit is cooled down all the same.
        cooldown: Steps in which the rate falls to zero.
    """

    batch_size: int = 32
    weight_decay: float = 0.05
    warmup: int = 20
    check_every: int = 20
    fit: float = 99.0
    cap: int = 1500
    cooldown: int = 60


@dataclass(frozen=True)
class Run:
    """One training, identified by what it depends on besides the recipe."""

    dataset: str
    model: str
    train_size: int
    seed: int
    lr: float


@lru_cache
def load_data(name: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Return images ``(N, C, H, W)`` and labels of ``pool``, from which training sets are drawn, ``val`` and ``test``.

    The three are disjoint and the same in every run.
    """
    if name == 'digits':
        from sklearn.datasets import load_digits

        bunch = load_digits()
        images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16  # (1797, 1, 8, 8)
        labels = torch.tensor(bunch.target)
        order = torch.from_numpy(np.random.default_rng(0).permutation(len(labels)))
        pool, held_out = order[:DIGITS_POOL], order[DIGITS_POOL:]
        parts = (images[pool], labels[pool]), (images[held_out], labels[held_out])
    else:
        parts = _render_shapes('train', SHAPES_POOL), _render_shapes('val', SHAPES_HELD_OUT)
    mean, std = parts[0][0].mean(), parts[0][0].std()
    (pool, pool_labels), (held_out, held_out_labels) = (((images - mean) / std, labels) for images, labels in parts)
    split = int(VALIDATION_SHARE * len(held_out))
    return {
        'pool': (pool, pool_labels),
        'val': (held_out[:split], held_out_labels[:split]),
        'test': (held_out[split:], held_out_labels[split:]),
    }


def _render_shapes(split: str, count: int) -> tuple[Tensor, Tensor]:
    side = DATASETS['shapes']['img_size']
    labels = torch.arange(count) % len(CLASSES)
    images = np.stack(
        [render_single(i // len(CLASSES), int(label), split=split, size=(side, side)) for i, label in enumerate(labels)]
    )
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, labels  # (N, 3, H, W)


def training_set(name: str, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw ``size`` images from the pool, the same number of each class up to rounding."""
    images, labels = load_data(name)['pool']
    rng = np.random.default_rng(seed)
    order = torch.from_numpy(rng.permutation(len(labels)))
    rank = torch.empty(len(labels), dtype=torch.long)
    for label in range(DATASETS[name]['classes']):
        members = order[labels[order] == label]
        rank[members] = torch.arange(len(members))
    chosen = order[torch.argsort(rank[order], stable=True)][:size]
    return images[chosen], labels[chosen]


def build_model(run: Run) -> nn.Module:
    """Build backbone and classifier; a pyramid, whose stem has a stride of 4, sees digits enlarged to 32 x 32."""
    data = DATASETS[run.dataset]
    config = dict(MODEL_CONFIGS[run.model], in_channels=data['channels'])
    if config['type'] == 'mmhyena.HyenaViT':
        config |= {name: data[name] for name in ('img_size', 'patch_size')}
    backbone = MODELS.build(config)
    return Classifier(
        backbone, data['classes'], scale=4 if run.dataset == 'digits' and run.model == 'hyenapixel' else 1
    )


class Classifier(nn.Module):
    """A backbone that gives ``(B, C)`` and a linear layer."""

    def __init__(self, backbone: nn.Module, classes: int, scale: int = 1) -> None:
        super().__init__()
        self.backbone, self.scale = backbone, scale
        dims = backbone.embed_dims
        self.head = nn.Linear(dims if isinstance(dims, int) else dims[-1], classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of ``x`` ``(B, C, H, W)``."""
        if self.scale > 1:
            x = nn.functional.interpolate(x, scale_factor=self.scale, mode='bilinear')
        return self.head(self.backbone(x)[-1])


def make_optimizer(model: nn.Module, run: Run, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; only weights of linear layers and of convolutions outside long filters decay."""
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        decays = name.endswith('weight') and parameter.dim() > 1 and '.long_conv.' not in name
        (decayed if decays else others).append(parameter)
    groups = [dict(params=decayed, weight_decay=recipe.weight_decay), dict(params=others, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=run.lr, foreach=True)


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the accuracy in percent."""
    model.eval()
    batches = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH))
    correct = sum(int((model(image).argmax(1) == label).sum()) for image, label in batches)
    model.train()
    return 100 * correct / len(labels)


def train(run: Run, recipe: Recipe) -> dict:
    """Train one model until it fits and return what came out.

    Returns:
        ``params``, ``steps``, ``train_accuracy``, ``val_accuracy`` and ``test_accuracy`` in percent, ``fitted`` (0 or
        1) and ``seconds`` of processor time.
    """
    torch.manual_seed(run.seed)
    start = time.process_time()
    data = load_data(run.dataset)
    images, labels = training_set(run.dataset, run.train_size, run.seed)
    model = build_model(run)
    steps = _fit(model, images, labels, run, recipe)
    train_accuracy = accuracy(model, images, labels)
    return dict(
        params=sum(p.numel() for p in model.parameters()),
        steps=steps,
        train_accuracy=round(train_accuracy, 3),
        fitted=int(train_accuracy >= recipe.fit),
        val_accuracy=round(accuracy(model, *data['val']), 3),
        test_accuracy=round(accuracy(model, *data['test']), 3),
        seconds=round(time.process_time() - start, 2),
    )


def _fit(model: nn.Module, images: Tensor, labels: Tensor, run: Run, recipe: Recipe) -> int:
    """Train until the training set is fitted or the cap is reached, cool down, and return the number of steps."""
    optimizer = make_optimizer(model, run, recipe)
    end, correct, seen = None, 0, 0
    model.train()
    batches = _batches(len(labels), min(recipe.batch_size, len(labels)))
    for step, index in enumerate(batches, start=1):
        factor = min(1.0, step / recipe.warmup)
        if end is not None:
            factor *= (end - step + 1) / recipe.cooldown
        for group in optimizer.param_groups:
            group['lr'] = factor * run.lr
        logits = model(images[index])
        loss = nn.functional.cross_entropy(logits, labels[index])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        if step == end:
            return step
        correct, seen = correct + int((logits.argmax(1) == labels[index]).sum()), seen + len(index)
        if end is None and step % recipe.check_every == 0:
            # The batches tell when the whole set is worth a look.
            likely = 100 * correct / seen >= recipe.fit - LIKELY_MARGIN
            if step >= recipe.cap or (likely and accuracy(model, images, labels) >= recipe.fit):
                end = step + recipe.cooldown
            correct, seen = 0, 0
    raise AssertionError('batches never end')


def _batches(count: int, batch: int) -> Iterator[Tensor]:
    """Yield indices of whole batches, epoch after epoch, without end."""
    while True:
        yield from (index for index in torch.randperm(count).split(batch) if len(index) == batch)
