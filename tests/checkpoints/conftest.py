"""Each hostile file, and a local web server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hostile_files import HOSTILE


@pytest.fixture(params=list(HOSTILE))
def hostile(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Each of the hostile files; the test fails if its code has run."""
    file, marker = tmp_path / 'hostile.pth', tmp_path / 'marker'
    HOSTILE[request.param](file, marker)
    yield file
    assert not marker.exists(), 'the code of the file was executed'


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder and returns its URL."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(('127.0.0.1', 0), partial(_Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_port}'

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
