"""Small data, and the tools as functions, for the tests of wrong inputs."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bad_inputs import ROOT
from mmengine.logging import MMLogger

from mmhyena.datasets.shapes import generate_shapes


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=4, val=2, size=64, cls_train=10, cls_val=5, cls_size=32, seed=0)
    return root


@pytest.fixture
def no_loggers() -> Iterator[None]:
    """Forget loggers, which write to the captured output of the test that made them."""
    yield
    MMLogger._instance_dict.clear()


@pytest.fixture(scope='module')
def tools() -> dict[str, Callable[[list[str]], int]]:
    places = dict(
        train='tools/train.py',
        test='tools/test.py',
        browse='tools/analysis_tools/browse_dataset.py',
        check='tools/dataset_checks/check_dataset.py',
        demo='demo/image_demo.py',
        flops='tools/analysis_tools/get_flops.py',
        erf='tools/analysis_tools/visualize_erf.py',
        kernels='tools/analysis_tools/visualize_kernels.py',
        reach='tools/analysis_tools/ablate_reach.py',
        resolution='tools/analysis_tools/ablate_resolution.py',
        features='tools/analysis_tools/visualize_features.py',
        export='tools/deployment/export.py',
        compare='tools/benchmarks/compare.py',
        bench='benchmarks/compare.py',
    )
    mains = {}
    for name, place in places.items():
        spec = importlib.util.spec_from_file_location(f'bad_inputs_{name}', ROOT / place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where dataclasses look for it
        spec.loader.exec_module(module)
        mains[name] = module.main
    return mains


@pytest.fixture
def annotated(shapes, tmp_path) -> Path:
    """A copy of the detection data that may be damaged."""
    root = tmp_path / 'annotated'
    for folder in ('train', 'val', 'annotations'):
        shutil.copytree(shapes / folder, root / folder)
    return root
