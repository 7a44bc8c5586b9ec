"""Our resolved configs against a committed table of the published recipes, key by key.

``published_recipes.json`` names, for each config that reproduces something, every value that decides a result, grouped
by its source; the group ``mmhyena`` holds what has no counterpart in the published code (types of our own classes, how
mmpretrain spells a loader). ``like`` starts from the values of another config. A key that is in neither, say one that
an edit of a base config has added, fails as well as a changed value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2]
TABLE = json.loads(Path(__file__).with_name('published_recipes.json').read_text())
DECISIVE = (
    'auto_scale_lr.',
    'custom_hooks',
    'data_preprocessor.',
    'model.',
    'optim_wrapper.',
    'param_scheduler',
    'test_dataloader.',
    'test_evaluator.',
    'train_cfg.',
    'train_dataloader.',
    'val_dataloader.',
    'val_evaluator.',
)
# Where files are, how they are read, how often to validate.
PRACTICAL = re.compile(
    r'num_workers|persistent_workers|pin_memory|data_root|ann_file|\.checkpoint$|train_cfg\.val_interval|'
    r'auto_scale_lr\.enable|backend_args'
)


def published(config: str) -> dict[str, Any]:
    """Return every value of a recipe, by dotted key."""
    entry = TABLE[config]
    values = published(entry['like']) if 'like' in entry else {}
    for group in entry['values'].values():
        values.update(group)
    return values


def flatten(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and leaves; a list is a leaf unless it holds dicts."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from flatten(child, f'{key}.{name}' if key else str(name))
    elif isinstance(node, (list, tuple)) and _holds_dicts(node):
        for i, child in enumerate(node):
            yield from flatten(child, f'{key}.{i}')
    else:
        yield key, node


def _holds_dicts(node: Any) -> bool:
    return isinstance(node, dict) or (isinstance(node, (list, tuple)) and any(map(_holds_dicts, node)))


def decisive(cfg: Config) -> dict[str, Any]:
    """Return the values of a resolved config that decide a result, as json has them."""
    leaves = {
        key: value for key, value in flatten(cfg.to_dict()) if key.startswith(DECISIVE) and not PRACTICAL.search(key)
    }
    return json.loads(json.dumps(leaves))


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    return [
        f'{key}: published {expected.get(key, "nothing")!r}, ours {found.get(key, "nothing")!r}'
        for key in sorted(expected.keys() | found.keys())
        if expected.get(key, '-') != found.get(key, '-')
    ]


@pytest.mark.parametrize('recipe', TABLE, ids=lambda path: Path(path).stem)
def test_config_is_the_published_recipe(recipe, add_row):
    expected, found = published(recipe), decisive(Config.fromfile(ROOT / recipe))
    different = differences(expected, found)
    ours = len(TABLE[recipe]['values'].get('mmhyena', ()))
    add_row('Recipes', config=Path(recipe).stem, values=len(expected), different=len(different), ours_alone=ours)
    assert not different, '\n'.join(different)


@pytest.mark.parametrize(
    ('option', 'key'),
    [
        ({'optim_wrapper.optimizer.lr': 1e-3}, 'optim_wrapper.optimizer.lr'),
        ({'optim_wrapper.clip_grad': {'max_norm': 1}}, 'optim_wrapper.clip_grad.max_norm'),
        ({'model.data_preprocessor.test_cfg.size_divisor': 32}, 'model.data_preprocessor.test_cfg.size_divisor'),
        ({'train_dataloader.dataset.pipeline.3.crop_size': (64, 64)}, 'train_dataloader.dataset.pipeline.3.crop_size'),
    ],
)
def test_a_changed_or_added_value_is_noticed(option, key):
    recipe = next(name for name in TABLE if name.endswith('upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py'))
    cfg = Config.fromfile(ROOT / recipe)
    cfg.merge_from_dict(option)
    assert [line.partition(':')[0] for line in differences(published(recipe), decisive(cfg))] == [key]


def test_configs_that_claim_a_published_recipe_are_in_the_table(configs):
    """``Reproduces: the published ...`` is a claim that the table must hold; derived recipes say ``Derived:``."""
    claims = {
        name for name in configs if re.search(r'^Reproduces: the published', (ROOT / name).read_text(), re.MULTILINE)
    }
    assert claims == set(TABLE)
