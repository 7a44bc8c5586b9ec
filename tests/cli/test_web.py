"""The demo in a browser: its command line without gradio, its page clicked through in headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmhyena.__main__ import main
from mmhyena.cli.web import parse_args

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')


def test_models_of_the_command_line():
    args = parse_args(['a.py', 'a.pth', '--model', 'b.py', 'b.pth', '--model', 'c', '--port', '80'])
    assert args.models == [('a.py', 'a.pth'), ('b.py', 'b.pth'), ('c', None)]
    assert (args.port, args.host) == (80, '127.0.0.1')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['a.py', '--model', 'b.py', 'b.pth', 'c.py'], 'give the option once per model'),
        (['a.py', '--port', '0'], '65535'),
    ],
)
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parse_args(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_without_gradio_one_line_says_what_to_install(monkeypatch, capsys):
    pytest.importorskip('mmengine')
    monkeypatch.setitem(sys.modules, 'gradio', None)
    monkeypatch.delitem(sys.modules, 'mmhyena.cli.web_page', raising=False)
    assert main(['web', 'none.py']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: this needs gradio, which is not installed: pip install 'mmhyena[web]'"


# --- in the browser ---


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    command = [sys.executable, 'demo/web_demo.py', *arguments, '--device', 'cpu']
    return subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=log.open('w'), stderr=subprocess.STDOUT
    )


@pytest.fixture
def page(tmp_path) -> Iterator:
    """An empty page of headless Chromium."""
    pytest.importorskip('gradio', reason='gradio is not installed: the extra web')
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f'no browser is installed: none of {", ".join(BROWSERS)} is in the PATH')
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=['--no-sandbox'])
        page = chromium.new_page(viewport=dict(width=1280, height=900))
        page.set_default_timeout(90_000)
        yield page
        chromium.close()


@pytest.fixture
def served(weights, config, tmp_path) -> Iterator[tuple[str, Path]]:
    """Address and log of the page with a detector, a segmentor, a classifier and a broken checkpoint."""
    models = [
        str(part) for task in ('detection', 'segmentation', 'classification') for part in (config(task), weights(task))
    ]
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no weights')
    others = [word for first in (2, 4) for word in ('--model', *models[first : first + 2])]
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    log = tmp_path / 'server.log'
    arguments = [*models[:2], *others, '--model', models[0], str(broken), '--port', str(port)]
    server = start(arguments, log)
    try:
        until = time.monotonic() + 300
        while 'the page is at http' not in log.read_text():
            assert server.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.5)
        yield f'http://127.0.0.1:{port}/', log
    finally:
        server.terminate()
        server.wait(30)


def panel(page):
    return page.get_by_role('tabpanel').filter(visible=True)


def choose(page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role('option', name=option, exact=True).click()


def expect_rows(page, header: str) -> None:
    """Wait for a table with a header and at least one row."""
    panel(page).get_by_role('columnheader', name=header).first.wait_for()
    assert panel(page).locator('tbody tr').count() > 0


def wait_for_picture(page, label: str) -> str:
    """Wait for the picture below a label, and return its address."""
    picture = page.locator('.block').filter(has=page.get_by_text(label, exact=True)).locator('img').last
    picture.wait_for()
    return picture.get_attribute('src')


@pytest.mark.slow
def test_every_tab_is_clicked_through(page, served, images, tmp_path):
    address, log = served
    shots = tmp_path / 'screenshots'
    failed: list[str] = []
    elsewhere: list[str] = []
    page.on('pageerror', lambda error: failed.append(str(error)))
    page.on('request', lambda request: None if '127.0.0.1' in request.url else elsewhere.append(request.url))

    page.goto(address)
    page.get_by_role('tab', name='Receptive field').click()
    page.get_by_text('There is no image yet').wait_for()
    page.screenshot(path=shots / '0_empty.png')

    # --- detector: every tab ---
    page.get_by_role('tab', name='Prediction').click()
    page.locator('input[type=file]').first.set_input_files(images / '000000.jpg')
    first = wait_for_picture(page, 'Prediction')
    expect_rows(page, 'right')
    page.screenshot(path=shots / '1_detection.png')

    page.get_by_role('tab', name='Feature maps').click()
    panel(page).get_by_text(re.compile(r'^neck 3: ')).wait_for()
    assert panel(page).locator('img').count() == 8  # four stages, four levels
    page.wait_for_timeout(1000)  # they are faded in
    page.screenshot(path=shots / '2_features.png')

    page.get_by_role('tab', name='Kernels').click()
    kernels = wait_for_picture(page, 'Kernels')
    page.screenshot(path=shots / '3_kernels.png', full_page=True)

    page.get_by_role('tab', name='Receptive field').click()
    fed = panel(page).locator('img').first
    fed.wait_for()
    fields = []
    for share in (0.3, 0.8):
        box = fed.bounding_box()
        before = panel(page).get_by_text('The feature of backbone 3').all_text_contents()
        fed.click(position=dict(x=share * box['width'], y=0.5 * box['height']))
        sentence = panel(page).get_by_text('The feature of backbone 3')
        sentence.wait_for()
        page.wait_for_function('old => !old || !document.body.innerText.includes(old)', arg=''.join(before))
        fields.append((sentence.text_content(), wait_for_picture(page, 'Contributions, logarithmic')))
    assert fields[0] != fields[1]
    page.screenshot(path=shots / '4_field.png')
    choose(page, 'Feature map', 'neck 0')
    panel(page).get_by_text('The feature of neck 0').wait_for()

    # --- the other tasks, and a checkpoint that cannot be read ---
    page.get_by_role('tab', name='Prediction').click()
    choose(page, 'Model', 'upernet_hpx-former-tiny_shapes')
    expect_rows(page, 'share of the image')
    assert wait_for_picture(page, 'Prediction') != first
    page.screenshot(path=shots / '5_segmentation.png')
    page.get_by_role('tab', name='Kernels').click()
    assert wait_for_picture(page, 'Kernels') != kernels
    page.get_by_role('tab', name='Prediction').click()
    choose(page, 'Model', 'hpx-former-tiny_shapes')
    expect_rows(page, 'score')
    page.screenshot(path=shots / '6_classification.png')
    choose(page, 'Model', 'mask-rcnn_hpx-former-tiny_fpn_shapes (2)')
    page.get_by_text('broken.pth').first.wait_for()
    page.screenshot(path=shots / '7_broken_checkpoint.png')

    # --- a file that is no image ---
    choose(page, 'Model', 'hpx-former-tiny_shapes')
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes((images / '000000.jpg').read_bytes()[:100])
    page.get_by_label('Remove').or_(page.get_by_label('Clear')).first.click()
    page.locator('input[type=file]').first.set_input_files(broken)
    page.get_by_text(re.compile(r'^broken\.jpg cannot be read as an image')).first.wait_for()
    page.screenshot(path=shots / '8_broken_image.png')

    assert not failed and not elsewhere
    assert 'Traceback' not in log.read_text()
    assert len(list(shots.iterdir())) == 9
