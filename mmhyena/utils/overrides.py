"""Values of ``--cfg-options``: Python literals, and the unquoted forms that a shell lets through."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Sequence
from typing import Any

from mmhyena.errors import UserError

__all__ = ['parse_overrides', 'parse_value']

_OPEN, _CLOSE = '([{', ')]}'
_WORDS = {'true': True, 'false': False, 'none': None, 'nan': math.nan, 'inf': math.inf, '-inf': -math.inf}


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Parse ``key=value`` words, see :func:`parse_value`.

    Raises:
        UserError: For a word that is no such pair, or whose brackets do not close.
    """
    overrides = {}
    for word in words:
        key, equals, value = word.partition('=')
        if not key.strip() or not equals:
            raise UserError(f"--cfg-options {word}: expected key=value, without blanks around '='")
        if any(not part for part in key.split('.')):
            raise UserError(f'--cfg-options {word}: the key {key} has an empty part')
        try:
            overrides[key] = parse_value(value)
        except ValueError as error:
            raise UserError(f'--cfg-options {word}: {error}') from error
    return overrides


def parse_value(text: str) -> Any:
    """Return the value of one override.

    A Python literal is taken as such: numbers, booleans, None, quoted strings, lists, tuples, dicts, also as
    ``dict(key=value)``. Besides, strings inside brackets may go without quotes (``[a,b]``, ``{type:Foo}``), commas
    without brackets make a list (``0,1``), and anything else is text, with its blanks kept.

    Raises:
        ValueError: If brackets do not close, or an entry of a dict has no key.
    """
    text = text.strip()
    try:
        value = ast.literal_eval(_DictCalls().visit(ast.parse(text, mode='eval')))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _parse_loosely(text)
    return list(value) if isinstance(value, tuple) and text[0] != '(' else value


class _DictCalls(ast.NodeTransformer):
    """Replaces ``dict(a=1)`` by ``{'a': 1}``."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = not node.args and all(keyword.arg for keyword in node.keywords)
        if not (isinstance(node.func, ast.Name) and node.func.id == 'dict' and named):
            return node
        keys: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def _parse_loosely(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    parts = list(_split(text, ','))
    if len(parts) > 1:
        return [parse_value(part) for part in parts if part.strip()]
    if not text or text[0] not in _OPEN:
        return text
    if text[-1] != _CLOSE[_OPEN.index(text[0])]:
        return text
    entries = [part for part in _split(text[1:-1], ',') if part.strip()]
    if text[0] == '{':
        return dict(_parse_entry(entry, text) for entry in entries)
    values = [parse_value(entry) for entry in entries]
    return tuple(values) if text[0] == '(' else values


def _parse_entry(entry: str, text: str) -> tuple[Any, Any]:
    key, *rest = _split(entry, ':')
    if not rest:
        raise ValueError(f"'{entry.strip()}' in {text} is not of the form key: value")
    return parse_value(key), parse_value(':'.join(rest))


def _split(text: str, separator: str) -> Iterator[str]:
    """Split at ``separator`` outside brackets and quotes."""
    start, closing, quote = 0, [], ''
    for i, char in enumerate(text):
        if quote:
            quote = '' if char == quote else quote
        elif char in '\'"' and (text[:i].rstrip() or ',')[-1] in _OPEN + ',:':
            quote = char  # elsewhere it is an apostrophe
        elif char in _OPEN:
            closing.append(_CLOSE[_OPEN.index(char)])
        elif char in _CLOSE:
            if not closing or closing.pop() != char:
                raise ValueError(f"'{char}' closes no bracket; put quotes around text with brackets")
        elif char == separator and not closing:
            yield text[start:i]
            start = i + 1
    if closing:
        raise ValueError(f"'{closing[-1]}' is missing; put quotes around text with brackets")
    if quote:
        raise ValueError(f'the quote {quote} is not closed')
    yield text[start:]
