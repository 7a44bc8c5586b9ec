"""MkDocs hooks: links that leave the documentation, and reStructuredText in docstrings.

Links to files of the repository work on a code host. The site has no such file: with ``repo_url`` in ``mkdocs.yml`` the
link goes to the repository, without it the path stands there as code. Docstrings are read as Markdown, which knows
neither roles (``:class:`X```) nor the double colon before a literal block.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r'(?<!!)\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)')
_ROLE = re.compile(r':(?:class|func|meth|data|mod|exc|attr|obj):<code>~?([^<]*)</code>')


def on_page_content(html: str, **kwargs: object) -> str:
    """Show what a role names as code, and a double colon as it was meant."""
    html = _ROLE.sub(r'<code>\1</code>', html)
    return re.sub(r'<p>::</p>', '', html).replace('::</p>', ':</p>')


def on_page_markdown(markdown: str, page: Any, config: Any, **kwargs: object) -> str:
    """Rewrite the links of a page that leave the documentation."""
    folder = posixpath.join('docs', posixpath.dirname(page.file.src_uri))
    return _LINK.sub(lambda match: _rewrite(match, folder, config.repo_url), markdown)


def _rewrite(match: re.Match[str], folder: str, repo_url: str | None) -> str:
    text, target, anchor = match.groups()
    path = posixpath.normpath(posixpath.join(folder, target))
    if path.startswith('docs/'):
        return match[0]
    if not (_ROOT / path).exists():
        raise FileNotFoundError(f'{folder}: {match[0]} names {path}, which does not exist')
    if repo_url:
        return f'[{text}]({repo_url.rstrip("/")}/blob/main/{path}{anchor or ""})'
    return f'`{path}`' if text.strip('`') in path else f'{text} (`{path}`)'
