"""Write the pages that are made from the metafiles and from the records of benchmarks.

Run it after a change of a metafile or a record: python docs/scripts/tables.py
A test compares the pages with what it would write.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from performance import features, performance, share
from records import NOTE, ROOT, read_csv, table

UNKNOWN = 'not published'


def read_metafiles() -> list[tuple[Path, dict[str, Any]]]:
    """Return every metafile of the model index, with its path."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [(ROOT / path, yaml.safe_load((ROOT / path).read_text())) for path in index['Import']]


def figures(model: dict[str, Any]) -> list[tuple[str, float, str, str]]:
    """Return metric, value, data set and source of every result that has a value."""
    return [
        (metric, value, result['Dataset'], result['Source'])
        for result in model.get('Results', ())
        for metric, value in result['Metrics'].items()
        if value != UNKNOWN
    ]


# --- Model zoo ---


def model_zoo() -> str:
    """Return the page of all models with a figure or weights."""
    parts = [
        '# Model zoo',
        NOTE,
        '',
        'Configs with a published or measured figure, or with published weights. Published figures are those of the',
        'papers; they were not reproduced here. `mmhyena test CONFIG CHECKPOINT` takes official weights as they are.',
        'All configs, those without a figure included: `mmhyena list configs`.',
    ]
    for path, metafile in read_metafiles():
        models = [model for model in metafile['Models'] if figures(model) or model.get('Weights')]
        if not models:
            continue
        title = ', '.join(collection['Name'] for collection in metafile['Collections'])
        parts += ['', f'## {title}', '', _zoo_table(models)]
        rest = len(metafile['Models']) - len(models)
        folder = path.parent.relative_to(ROOT).as_posix()
        more = f'{rest} more {"config" if rest == 1 else "configs"} and the recipes' if rest else 'The recipes'
        parts += ['', f'{more}: [{folder}](../{folder}/README.md).']
    return '\n'.join(parts) + '\n'


def _zoo_table(models: list[dict[str, Any]]) -> str:
    rows = []
    for model in models:
        found = figures(model)
        shown = ', '.join(f'{metric} {value}' for metric, value, _, _ in found)
        sources = ', '.join(dict.fromkeys(source for *_, source in found))
        rows.append([f'`{model["Name"]}`', model['Metadata']['Training Data'], shown, sources, _weights(model)])
    columns = list(zip(['config', 'data', 'figure', 'source', 'weights'], *rows))
    kept = [column for column in columns if any(column[1:])]
    head, *lines = zip(*kept)
    return table(head, lines)


def _weights(model: dict[str, Any]) -> str:
    return f'`{model["Weights"]}`' if model.get('Weights') else ''


# --- Architectures ---


@dataclass
class Published:
    """What the metafiles say about an architecture at 224 x 224."""

    top1: float
    source: str
    macs: float | None
    parameters: float | None


def published_archs() -> dict[str, Published]:
    """Return what is published about each architecture on ImageNet-1k at 224 x 224."""
    found = {}
    for _, metafile in read_metafiles():
        for model in metafile['Models']:
            data = model['Metadata']
            for metric, value, dataset, source in figures(model):
                if metric == 'Top 1 Accuracy' and dataset == 'ImageNet-1k' and data.get('Resolution', 224) == 224:
                    arch = model['Name'].split('_')[0].replace('-', '_')
                    found[arch] = Published(value, source, data.get('FLOPs'), data.get('Parameters'))
    return found


def architectures() -> str:
    """Return the page that helps to choose an architecture."""
    published = published_archs()
    memory = {row['arch']: row for row in read_csv('activation_memory.csv')}
    rows = [
        [
            f'`{arch}`',
            f'{item.parameters / 1e6:.2f}' if item.parameters else '-',
            f'{item.macs / 1e9:.2f}' if item.macs else '-',
            f'{item.top1}',
            f'{float(memory[arch]["saved_mib"]):.0f}' if arch in memory else '-',
        ]
        for arch, item in published.items()
        if arch in memory
    ]
    texts = {item.source for arch, item in published.items() if arch in memory}
    sources = ', '.join(sorted(text.removeprefix('published (').removesuffix(')') for text in texts))
    ours = [
        [
            f'`{row["arch"]}`',
            f'`{row["family"]}`',
            f'{int(row["parameters"]) / 1e6:.1f}',
            f'{float(row["saved_mib"]):.0f}',
        ]
        for row in memory.values()
        if row['arch'] not in published
    ]
    text = (ROOT / 'docs/scripts/architectures.md.in').read_text()
    return text.format(
        note=NOTE,
        sources=sources,
        published=table(
            ['architecture', 'parameters, M', 'operations, G', 'top-1', 'saved for backward, MiB per image'], rows
        ),
        times=_relative_times(),
        ours=table(['architecture', 'backbone', 'parameters, M', 'saved for backward, MiB per image'], ours),
    )


def _relative_times() -> str:
    records = features()
    cells = {(row['arch'], row['image']): share(row) for row in records if row['against'] == 'convformer'}
    images = list(dict.fromkeys(image for _, image in cells))
    rows = [[f'`{arch}`', *(cells[arch, image] for image in images)] for arch in ('hpx_former_s18', 'hb_former_s18')]
    return table(['architecture', *images], rows)


# --- Deployment ---


def deployment() -> str:
    """Return the page about exported files."""
    records = read_csv('export.csv')
    rows = [
        [
            f'`{row["config"]}`',
            row['task'],
            row['form'],
            row['size'].replace('x', ' x '),
            row['file_mb'],
            f'{float(row["abs_error"]):.0e}',
            f'{float(row["rel_error"]):.0e}',
            row['speed'],
        ]
        for row in records
    ]
    head = ['config', 'task', 'form', 'image', 'MB', 'largest absolute error', 'relative error', 'times eager']
    text = (ROOT / 'docs/scripts/deployment.md.in').read_text()
    return text.format(
        note=NOTE,
        measured=table(head, rows),
        machine=_machine(records[0]),
        command=records[0]['command'],
        **_quantized(),
    )


def _quantized() -> dict[str, str]:
    forms = {'int8, dynamic': 'q_dynamic', 'int8, static': 'q_static', 'bfloat16, eager autocast': 'q_bf16'}
    found = {}
    for row in read_csv('quantization.csv'):
        name = forms[row['form']]
        found[f'{name}_mb'] = row['file_mb']
        found[f'{name}_speed'] = row['speed']
        found[f'{name}_error'] = f'{float(row["rel_error"]):.1%}'
    shared = dict(q_config=row['config'], q_size=row['size'].replace('x', ' x '), q_float32=row['float32_mb'])
    return dict(found, **shared, q_machine=_machine(row), q_command=row['command'])


def _machine(row: dict[str, str]) -> str:
    clock = dict(cpu='processor time', wall='wall time')[row['clock']]
    count = int(row['threads'])
    torch_version = row['torch'].partition('+')[0]
    threads = f'{count} thread{"s" * (count > 1)}'
    return f'{row["device"]}, {threads}, torch {torch_version}, onnxruntime {row["onnxruntime"]}, {clock}'


# --- Model cards ---

_CARDS = {'hyenapixel': 'HyenaPixel', 'ibit': 'IBiT'}


def model_card(name: str) -> str:
    """Return the model card of a family whose authors publish weights or figures."""
    text = (ROOT / f'docs/scripts/card_{name}.md.in').read_text()
    metafiles = [data for _, data in read_metafiles() if data['Collections'][0]['Name'] == _CARDS[name]]
    (metafile,) = metafiles
    paper = metafile['Collections'][0]['Paper']
    models = [model for model in metafile['Models'] if figures(model) or model.get('Weights')]
    licenses = sorted({model['Weights License'] for model in models if model.get('Weights License')})
    return text.format(
        note=NOTE,
        paper=f'[{paper["Title"]}]({paper["URL"]})',
        models=_zoo_table(models),
        licenses='\n'.join(f'- {line}' for line in licenses),
    )


def pages() -> dict[Path, str]:
    """Return every page that is written, by its path."""
    docs = ROOT / 'docs'
    cards = {docs / f'model_cards/{name}.md': model_card(name) for name in _CARDS}
    return {
        docs / 'model_zoo.md': model_zoo(),
        docs / 'architectures.md': architectures(),
        docs / 'deployment.md': deployment(),
        docs / 'performance.md': performance(),
        **cards,
    }


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(path.relative_to(ROOT))


if __name__ == '__main__':
    main()
