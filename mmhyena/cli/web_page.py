"""The page of ``mmhyena web``: which control calls what of an :class:`~mmhyena.analysis.explorer.Explorer`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from mmhyena.analysis.explorer import ModelShelf
from mmhyena.errors import UserError

__all__ = ['build_page', 'serve']

_INTRODUCTION = '# mmhyena\nDrop an image, and look at what a model makes of it.'
_NO_IMAGE = 'There is no image yet: drop one on the left.'
_CLICK = 'Click a pixel of the input. The picture beside it then shows which pixels the feature there depends on.'
_FEATURES = (
    'The first three principal components of every feature map, as red, green and blue. Below each: its channels, '
    'height and width, and the share of the variance that the colors show.'
)
_KERNELS = 'The kernels with the largest norms of every long convolution: taps, then their spectra.'

# Fonts of the machine itself: gradio's default ones come from another server.
_FONTS = dict(font=['ui-sans-serif', 'system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'])


def _file_of(upload: Any) -> str | None:
    """Return the name of an uploaded file, for our reader; gradio's decoding of a broken one ends in a traceback."""
    return None if upload is None else upload.path


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let wrong input appear as a message in the page."""

    @wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except UserError as error:
            text = str(error)
            for arg in args:  # an uploaded file lies in a folder that says nothing to the user
                if isinstance(arg, str) and Path(arg).is_absolute():
                    text = text.replace(arg, Path(arg).name)
            raise gr.Error(text, title='Not possible', print_exception=False) from error

    return call


class Actions:
    """What the controls of the page call; each method returns the values of the components it updates."""

    def __init__(self, shelf: ModelShelf) -> None:
        self.shelf = shelf

    @shown
    def kernels(self, name: str) -> tuple[Any, str]:
        """Return the picture of the kernels and the sentence above it."""
        explorer = self.shelf.get(name)
        try:
            return explorer.kernels(), _KERNELS
        except UserError as error:  # a model without long convolutions is no fault
            return None, str(error)

    @shown
    def predict(self, name: str, image: str | None, score_thr: float, opacity: float) -> tuple[Any, Any]:
        """Return the drawn prediction and its table."""
        if image is None:
            return None, gr.Dataframe(value=[], headers=[''])
        picture, table = self.shelf.get(name).predict(image, score_thr, opacity)
        return picture, gr.Dataframe(value=table.rows, headers=table.headers)

    @shown
    def look(self, name: str, image: str | None, feature: str | None) -> tuple[Any, ...]:
        """Return feature maps and their choice, the input, and an empty field with the sentence above it."""
        if image is None:
            return None, gr.Dropdown(choices=[], value=None), None, None, None, _NO_IMAGE
        explorer = self.shelf.get(name)
        maps = explorer.features(image)
        names = [each.name for each in maps]
        last = [each for each in names if each.startswith('backbone')][-1]
        choice = gr.Dropdown(choices=names, value=feature if feature in names else last)
        return (
            [(each.picture, each.caption) for each in maps],
            choice,
            explorer.input_picture(image),
            None,
            None,
            _CLICK,
        )

    @shown
    def field(self, name: str, image: str | None, feature: str, point: list[int] | None) -> tuple[Any, str]:
        """Return the receptive field of the clicked pixel and a sentence about it."""
        if image is None:
            raise UserError(_NO_IMAGE)
        if point is None:
            return None, _CLICK
        return self.shelf.get(name).field(image, (point[0], point[1]), feature)

    def clicked(self, event: gr.SelectData) -> Any:
        """Return column and row of the clicked pixel."""
        return event.index


def build_page(shelf: ModelShelf) -> gr.Blocks:
    """Return the page for the models of a shelf."""
    act = Actions(shelf)
    with gr.Blocks(title='mmhyena', analytics_enabled=False) as page:
        gr.Markdown(_INTRODUCTION)
        model = gr.Dropdown(shelf.names, value=shelf.names[0], label='Model')
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                image = gr.Image(label='Image', sources=['upload', 'clipboard'], height=300)
                image.preprocess = _file_of
                score_thr = gr.Slider(0, 1, 0.3, step=0.05, label='Lowest score shown')
                opacity = gr.Slider(0, 1, 0.45, step=0.05, label='Opacity of masks')
            with gr.Column(scale=3), gr.Tabs():
                with gr.Tab('Prediction'):
                    prediction = _picture('Prediction')
                    table = gr.Dataframe(label='Found', interactive=False)
                with gr.Tab('Feature maps'):
                    gr.Markdown(_FEATURES)
                    gallery = gr.Gallery(
                        show_label=False, columns=3, height='max-content', object_fit='contain', format='png'
                    )
                with gr.Tab('Kernels'):
                    about_kernels = gr.Markdown(_KERNELS)
                    kernels = _picture('Kernels')
                with gr.Tab('Receptive field'):
                    about_field = gr.Markdown(_NO_IMAGE)
                    feature = gr.Dropdown([], label='Feature map')
                    with gr.Row():
                        fed = _picture('Input of the model: click a pixel')
                        field = _picture('Contributions, logarithmic')
        point = gr.State(None)

        limit: dict[str, Any] = dict(concurrency_id='model', concurrency_limit=1)  # one computation at a time
        drawn = ([model, image, score_thr, opacity], [prediction, table])
        seen = ([model, image, feature], [gallery, feature, fed, field, point, about_field])
        for started in (
            gr.on([page.load, model.change], act.kernels, model, [kernels, about_kernels], **limit),
            gr.on([image.change], lambda: None, None, None),
        ):
            started.success(act.predict, *drawn, **limit).success(act.look, *seen, **limit)
        gr.on([score_thr.release, opacity.release], act.predict, *drawn, **limit)
        asked = ([model, image, feature, point], [field, about_field])
        fed.select(act.clicked, None, point).success(act.field, *asked, **limit)
        feature.input(act.field, *asked, **limit)
    return page


def _picture(label: str) -> gr.Image:
    return gr.Image(label=label, interactive=False, format='png', buttons=['download', 'fullscreen'])


def serve(shelf: ModelShelf, host: str, port: int) -> None:
    """Serve the page until it is interrupted.

    Raises:
        UserError: If the address cannot be served at.
    """
    page = build_page(shelf)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size='64mb',
            footer_links=[],
            theme=gr.themes.Default(**_FONTS),
        )
    except OSError as error:
        raise UserError(f'the page cannot be served at {host}:{port} ({error}): choose another --port') from error
    print(f'the page is at {address}; Ctrl-C ends it', flush=True)
    page.block_thread()
