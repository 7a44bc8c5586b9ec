"""What every registered token mixer, direction, filter, window, positional encoding and backbone has to do.

The cases are matched against the registry, so a new class fails here until it has one.
"""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from contract_cases import (
    BACKBONE_CASES,
    BACKBONES,
    DIRECTIONS,
    FILTERS,
    MIXER_CASES,
    MIXERS,
    OTHERS,
    PART_CASES,
    POSITIONS,
    WINDOWS,
    Case,
    assert_same,
    convert,
    flat,
    relative_error,
    sweep,
)
from torch import Tensor, nn
from torch.func import functional_call

from mmhyena.backbones.base import BaseBackbone
from mmhyena.layers import TokenMixer
from mmhyena.layers.nd_directions import Direction
from mmhyena.registry import MODELS


def test_every_registered_class_has_a_case():
    MODELS.import_from_location()
    ours = {name: cls for name, cls in MODELS.module_dict.items() if cls.__module__.startswith('mmhyena.')}
    kinds = {'mixers': set(), 'directions': set(), 'backbones': set(), 'kernel parts': set(), 'others': set()}
    for name, cls in ours.items():
        if issubclass(cls, TokenMixer):
            kinds['mixers'].add(name)
        elif issubclass(cls, Direction):
            kinds['directions'].add(name)
        elif issubclass(cls, BaseBackbone):
            kinds['backbones'].add(name)
        elif cls.__module__.startswith('mmhyena.layers.filters'):
            kinds['kernel parts'].add(name)
        else:
            kinds['others'].add(name)
    assert kinds['mixers'] == set(MIXERS)
    assert kinds['directions'] == set(DIRECTIONS)
    assert kinds['backbones'] == set(BACKBONES)
    assert kinds['kernel parts'] == {*FILTERS, *WINDOWS, *POSITIONS}
    assert kinds['others'] <= OTHERS


@sweep(MIXER_CASES, PART_CASES)
def test_gradients_are_those_of_finite_differences(case: Case):
    check_gradients(case)


@pytest.mark.slow
@sweep(BACKBONE_CASES)
def test_gradients_of_backbones_are_those_of_finite_differences(case: Case):
    check_gradients(case)


def check_gradients(case: Case) -> None:
    module, inputs = case.build().double(), convert(case.inputs(), torch.float64)
    names, parameters = zip(*module.named_parameters()) if list(module.parameters()) else ((), ())
    tensors = [x.requires_grad_() for x in inputs if isinstance(x, Tensor)]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        given, weights = values[: len(tensors)], values[len(tensors) :]
        return tuple(flat(functional_call(module, dict(zip(names, weights)), given or tuple(inputs))))

    if not tensors and not parameters:
        pytest.skip('is a constant')
    assert torch.autograd.gradcheck(run, (*tensors, *parameters), fast_mode=True, atol=1e-4, check_undefined_grad=False)
    if parameters and not isinstance(module, BaseBackbone):
        grads = torch.autograd.grad(sum(out.square().sum() for out in run(*tensors, *parameters)), parameters)
        assert all(gradient.abs().max() > 0 for gradient in grads), 'every parameter has a say'


@sweep(MIXER_CASES, PART_CASES, BACKBONE_CASES)
def test_copies_give_the_same(case: Case):
    module, inputs = case.build().eval(), case.inputs()
    with torch.no_grad():
        want = module(*inputs)  # and whatever is cached is copied as well
        buffer = io.BytesIO()
        torch.save(module.state_dict(), buffer)
        buffer.seek(0)
        rebuilt = case.build(seed=1).eval()
        rebuilt(*inputs)
        rebuilt.load_state_dict(torch.load(buffer, weights_only=True))
        copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), rebuilt]
        for other in copies:
            assert_same(other(*inputs), want, 1e-6)
        for parameter in copies[0].parameters():
            parameter.mul_(1.5).add_(0.01)
        copies[0].train().eval()
        if list(module.parameters()):
            assert max(map(relative_error, flat(copies[0](*inputs)), flat(want))) > 1e-4
        assert_same(module(*inputs), want, 1e-6)


@sweep(MIXER_CASES, PART_CASES, BACKBONE_CASES)
def test_modes_and_changes_of_weights(case: Case):
    """Training, evaluation with and without gradients agree, also after every way of changing the weights."""
    module, inputs = case.build(), case.inputs()

    def check() -> list[Tensor]:
        trained = flat(module.train()(*inputs))
        assert_same(module.eval()(*inputs), trained)
        for _ in range(2):
            with torch.no_grad():
                assert_same(module(*inputs), trained)
        return [out.detach() for out in trained]

    first = check()
    module.train()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.25)
    check()
    with torch.no_grad():
        module.load_state_dict(case.build().state_dict())
        assert_same(module(*inputs), first)
        wide = module.double()(*convert(inputs, torch.float64))
    assert all(out.dtype == torch.float64 for out in flat(wide))
    assert_same(wide, first)


@sweep(MIXER_CASES, PART_CASES, BACKBONE_CASES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=['bf16', 'half'])
def test_half_precision(case: Case, dtype: torch.dtype):
    module, inputs = case.build().eval(), case.inputs()
    limit = 0.15 if dtype == torch.bfloat16 else 0.03
    with torch.no_grad():
        want = module(*inputs)
        got = copy.deepcopy(module).to(dtype)(*convert(inputs, dtype))
    assert all(out.dtype == dtype for out in flat(got))
    assert_same(got, want, limit)


@sweep(MIXER_CASES, BACKBONE_CASES)
def test_autocast(case: Case):
    module, inputs = case.build(), case.inputs()
    want = module(*inputs)
    with torch.autocast('cpu', torch.bfloat16):
        got = module(*inputs)
        with torch.no_grad():
            fixed = module.eval()(*inputs)
    assert_same(got, want, 0.15)
    assert_same(fixed, want, 0.15)
    sum(out.float().square().sum() for out in flat(got)).backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.dtype == torch.float32 and torch.isfinite(parameter.grad).all(), name


@sweep(MIXER_CASES, PART_CASES, BACKBONE_CASES)
def test_initialization_can_be_repeated(case: Case):
    module = case.build()
    for part in module.modules():
        if hasattr(part, 'reset_parameters') and not isinstance(part, nn.MultiheadAttention):
            part.reset_parameters()
    if hasattr(module, 'init_weights'):
        module.init_weights()
    assert all(torch.isfinite(out).all() for out in flat(module(*case.inputs())))
