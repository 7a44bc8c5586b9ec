"""Values of ``--cfg-options``."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhyena.errors import UserError
from mmhyena.utils.overrides import parse_overrides, parse_value


@pytest.mark.parametrize(
    'text, value',
    [
        ('/data/my set', '/data/my set'),
        ("'light green'", 'light green'),
        ('light green', 'light green'),
        ('3', 3),
        ('1e-3', 1e-3),
        ('true', True),
        ('False', False),
        ('None', None),
        ('inf', math.inf),
        ('0,1', [0, 1]),
        ('(0,1)', (0, 1)),
        ('[0,1]', [0, 1]),
        ('[(1,2),(3,4)]', [(1, 2), (3, 4)]),
        ('[a,b c]', ['a', 'b c']),
        ('a,b c', ['a', 'b c']),
        ("{'type': 'A', 'x': [1, 2]}", dict(type='A', x=[1, 2])),
        ('[{type:A,x:(1,2)},{type:B}]', [dict(type='A', x=(1, 2)), dict(type='B')]),
        ("dict(type='A', b=dict(c=1))", dict(type='A', b=dict(c=1))),
        ('{a:"b,c",d:http://x/y}', dict(a='b,c', d='http://x/y')),
        ("don't", "don't"),
        ('', ''),
        ('[]', []),
        ('f(x)', 'f(x)'),
    ],
)
def test_values(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@pytest.mark.parametrize('text', ['[0,1', '0,1]', '{a}', '[(1]', "['a]"])
def test_what_does_not_close_is_one_line(text):
    with pytest.raises(UserError, match=r'^--cfg-options key='):
        parse_overrides([f'key={text}'])


LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(LITERALS)
def test_python_literals_come_back(value):
    assert parse_value(repr(value)) == value
