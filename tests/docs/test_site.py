"""The documentation site builds without a warning, and every link and anchor in it leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *(ROOT / 'docs').rglob('*.md')]
MARKDOWN_LINK = re.compile(r'\]\(([^)\s]+)\)')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_linked_files_exist(page: Path):
    links = {
        urlsplit(link) for link in MARKDOWN_LINK.findall(re.sub(r'```.*?```', '', page.read_text(), flags=re.DOTALL))
    }
    paths = {link.path for link in links if not link.scheme and link.path}
    assert [path for path in sorted(paths) if not (page.parent / unquote(path)).exists()] == []


class Page(HTMLParser):
    """The ids and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == 'id' and value:
                self.ids.add(value)
            elif name in ('href', 'src') and value and tag in ('a', 'img', 'script', 'link'):
                self.links.add(value)


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip('material')
    pytest.importorskip('mkdocstrings')
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--quiet', '--strict', '--site-dir', str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


def find_broken(site: Path) -> list[str]:
    pages = {path.resolve(): Page(path.read_text()) for path in site.rglob('*.html')}
    broken = []
    for path, page in pages.items():
        if path.name == '404.html':  # its links are absolute
            continue
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / 'index.html' if target.is_dir() else target
            anchor = unquote(url.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids | {'__skip'}):
                broken.append(f'{path.relative_to(site.resolve())}: {link}')
    return broken


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site: Path):
    assert len(list(site.rglob('*.html'))) > 10
    assert find_broken(site) == []


@pytest.mark.slow
def test_nothing_is_loaded_from_other_servers(site: Path):
    tags = re.compile(r'<(?:script|link|img)[^>]*?(?:src|href)="?(https?://[^">\s]+)')
    found = {url for path in site.rglob('*.html') for url in tags.findall(path.read_text())}
    assert {url for url in found if 'canonical' not in url} == set()


@pytest.mark.slow
def test_docstrings_show_no_markup(site: Path):
    markup = re.compile(r':(?:class|func|meth|data|mod):|::</p>')
    assert [path.name for path in (site / 'api').rglob('*.html') if markup.search(path.read_text())] == []


def test_broken_links_are_found(tmp_path: Path):
    (tmp_path / 'a.html').write_text(
        '<h1 id="top"></h1><a href="#top"></a><a href="b.html"></a><a href="c.html#none"></a>'
    )
    (tmp_path / 'c.html').write_text('<img src="a.html">')
    assert sorted(find_broken(tmp_path)) == ['a.html: b.html', 'a.html: c.html#none']
