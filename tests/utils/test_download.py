"""Downloads from a server on this machine: the file, and every failure as one line without a partial file."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmhyena.errors import UserError
from mmhyena.utils.download import download_file, is_url

CONTENT = bytes(range(256)) * 400  # 102400 bytes


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.partition('?')[0].rpartition('/')[2]
        if name == 'none.png':
            self.send_error(404)
            return
        self.send_response(200)
        if name not in ('unsized.png', 'slow.png'):
            self.send_header('Content-Length', str(len(CONTENT) * (2 if name == 'short.png' else 1)))
        self.end_headers()
        if name == 'slow.png':
            for _ in range(20):
                self.wfile.write(b'x')
                self.wfile.flush()
                time.sleep(0.05)
            return
        self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope='module')
def address():
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize('name', ['a%20b.png?size=2', 'unsized.png'])
def test_the_file_is_named_as_in_its_address(name, address, tmp_path):
    file = download_file(f'{address}/x/{name}', tmp_path)
    assert file.name == ('a b.png' if name.startswith('a') else name)
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ('name', 'limits', 'reason'),
    [
        ('none.png', {}, 'the server answered 404'),
        ('short.png', {}, 'ended after 102400 of 204800 bytes'),
        ('sized.png', dict(max_bytes=50_000), 'has more than 0.05 MB'),
        ('unsized.png', dict(max_bytes=50_000), 'has more than 0.05 MB'),
        ('slow.png', dict(max_seconds=0.2), 'took more than 0.2 s'),
    ],
)
def test_failures_are_one_line_and_leave_nothing(name, limits, reason, address, tmp_path):
    with pytest.raises(UserError, match=reason) as caught:
        download_file(f'{address}/{name}', tmp_path, **limits)
    assert f'{address}/{name}' in str(caught.value) and '\n' not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r'cannot be downloaded: .*; check the address'):
        download_file('http://127.0.0.1:9/a.png', tmp_path, timeout=2)


def test_addresses():
    assert is_url('https://a/b.png') and is_url('HTTP://a') and not is_url('a/b.png') and not is_url('ftp://a/b.png')
