"""The page about time and memory on a CPU, from the records of benchmarks/run_cpu.sh."""

from __future__ import annotations

import sys
from statistics import median

from records import NOTE, ROOT, read_csv, table

sys.path.insert(0, str(ROOT))  # benchmarks are not installed
from benchmarks.growth import summary

_FORMULA, _CONVFORMER, _CONVNEXT, _FUSED = (
    'times faster than the official formula',
    'time relative to ConvFormer-S18',
    'time relative to ConvNeXt-T',
    'times faster than not fused',
)
_AGAINST = {'official': _FORMULA, 'convformer': _CONVFORMER, 'convnext': _CONVNEXT, 'elementary': _FUSED}


def read_times(*names: str) -> list[dict[str, str]]:
    """Return the rows of records of benchmarks.compare, with architecture and image instead of the case."""
    rows = []
    for row in (row for name in names for row in read_csv(f'cpu_{name}.csv')):
        arch, _, image = row['case'].partition(' ')
        rows.append(row | dict(arch=arch, image=image.replace('x', ' x ') if 'x' in image else f'{image} x {image}'))
    return rows


_PROFILES = {
    '224': '224 x 224, fused',
    '512': '512 x 512, fused',
    '800x1344': '800 x 1344, fused',
    'bfloat16': '512 x 512, fused, bfloat16',
    'train': 'training step, 512 x 512, batch 2',
}


def features() -> list[dict[str, str]]:
    """Return how long features of one image take, fused, against every baseline."""
    return read_times('features', 'features_large')


def share(row: dict[str, str]) -> str:
    """Return our time relative to the other's, from the median of the ratios over the rounds."""
    return f'{1 / float(row["ratio"]):.2f}'


def _ratio(row: dict[str, str]) -> str:
    """Return how many times faster ours is, with the quartiles over the rounds."""
    return f'{row["ratio"]} ({row["quartiles"].replace("-", " to ")})'


def _cell(row: dict[str, str]) -> str:
    return share(row) if row['against'] in ('convformer', 'convnext') else _ratio(row)


def _compared(rows: list[dict[str, str]], keys: dict[str, str]) -> str:
    """Return a table with a line for every case and a column for every baseline.

    Args:
        rows: Rows of a record.
        keys: Columns of the record that tell the cases apart, and their heads.
    """
    against = list(dict.fromkeys(row['against'] for row in rows))
    cells = {(*(row[key] for key in keys), row['against']): _cell(row) for row in rows}
    cases = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    lines = [[*case, *(cells[(*case, name)] for name in against)] for case in cases]
    return table([*keys.values(), *(_AGAINST[name] for name in against)], lines)


def _command(row: dict[str, str]) -> str:
    return f'`{row["command"].partition(" --out ")[0]}`'


def _sources(*names: str) -> str:
    """Return the commands and names of records, as a line below their table."""
    commands = dict.fromkeys(_command(read_csv(f'cpu_{name}.csv')[0]) for name in names)
    return f'Command: {" and ".join(commands)} ({", ".join(f"`cpu_{name}.csv`" for name in names)}).'


def performance() -> str:
    """Return the page about time and memory on a CPU."""
    case = dict(arch='backbone', image='image')
    tables = dict(
        features=_compared(features(), case),
        bfloat16=_bfloat16(read_times('bfloat16')),
        agreement=_agreement(),
        batches=_compared(read_times('batches'), dict(case, batch='images')),
        threads=_compared(read_times('threads_1'), case),
        compiled=_ratios(read_times('compile'), case, 'times faster than not compiled'),
        official_code=_ratios(
            read_times('official_code', 'official_code_large'), case, 'times faster than the official code'
        ),
        training=_training(),
        memory=table(
            ['backbone, 512 x 512, batch 1', 'saved for backward, MiB', 'official formula, MiB'],
            [[row['arch'], row['ours_mib'], row['other_mib']] for row in read_times('memory')],
        ),
        profile=_profile(),
        op=_long_convolutions('op'),
        growth=_long_convolutions('growth'),
        new_size=_new_size(),
        forward_growth=_forward_growth(),
    )
    sources = {
        'features': ('features', 'features_large'),
        'official_code': ('official_code', 'official_code_large'),
        'threads': ('threads_1',),
        'profile': tuple(f'profile_{name}' for name in _PROFILES),
        'compiled': ('compile',),
        'training': ('train', 'official_code_train'),
        'new_size': ('new_size_hpx_former_s18', 'new_size_hb_former_s18'),
    }
    without = ('agreement', 'forward_growth')  # commands are in the text
    lines = {f'{name}_source': _sources(*sources.get(name, (name,))) for name in tables if name not in without}
    record = read_csv('cpu_features.csv')[0]
    machine = (
        f'two cores of an {record["device"]}, Python {record["python"]}, PyTorch {record["torch"].partition("+")[0]}'
    )
    text = (ROOT / 'docs/scripts/performance.md.in').read_text()
    return text.format(note=NOTE, machine=machine, timm=record['timm'], **tables, **lines)


def _ratios(rows: list[dict[str, str]], keys: dict[str, str], head: str) -> str:
    return table([*keys.values(), f'{head} (quartiles)'], [[*(row[key] for key in keys), _ratio(row)] for row in rows])


def _bfloat16(rows: list[dict[str, str]]) -> str:
    errors = {(row['arch'], row['image']): row['error_to_float32'] for row in rows}
    compared = _compared(rows, dict(arch='backbone', image='image')).splitlines()
    ends = ['largest relative error against float32', '---', *errors.values()]
    return '\n'.join(f'{line} {end} |' for line, end in zip(compared, ends))


def _agreement() -> str:
    rows = [row for name in ('amp_agreement', 'amp_agreement_pixels') for row in read_csv(f'{name}.csv')]
    lines = [
        [f'`{row["config"]}`', row['images'], row['predictions'], f'{float(row["agreement"]):.3%}'] for row in rows
    ]
    return table(['model, trained here', 'images', 'predictions', 'the same class'], lines)


def _training() -> str:
    rows = read_times('train', 'official_code_train')
    names = {'official': 'official formula', 'official code': 'official code'}
    return table(
        ['backbone', 'image', 'batch', 'against', 'times faster (quartiles)'],
        [[row['arch'], row['image'], row['batch'], names[row['against']], _ratio(row)] for row in rows],
    )


def _long_convolutions(name: str) -> str:
    rows = read_csv(f'cpu_{name}.csv')
    cases = [row['case'].replace('x', ' x ').replace(' k', ', ') for row in rows]
    return table(
        ['feature map and kernel', 'ms', f'{_FORMULA} (quartiles)', 'relative error'],
        [[case, row['ours_ms'], _ratio(row), row['error']] for case, row in zip(cases, rows)],
    )


def _profile() -> str:
    columns = [read_csv(f'cpu_profile_{name}.csv') for name in _PROFILES]
    rows = [
        [rows[0]['kind'], *(f'{float(row["ms"]):.0f} ({float(row["share"]):.0%})' for row in rows)]
        for rows in zip(*columns)
    ]
    return table(['operations', *_PROFILES.values()], rows)


def _forward_growth() -> str:
    head, *lines = summary(read_csv('cpu_forward_growth.csv'), budget=24)
    return table(head, lines)


def _new_size() -> str:
    lines = []
    for arch in ('hpx_former_s18', 'hb_former_s18'):
        rows = read_csv(f'cpu_new_size_{arch}.csv')
        ratios = [float(row['ratio']) for row in rows]
        images = f'{rows[0]["size"]} to {rows[-1]["size"]}'.replace('x', ' x ')
        lines.append([arch, images, f'{median(ratios):.2f}', f'{min(ratios):.2f} to {max(ratios):.2f}'])
    return table(['backbone', 'images', 'time relative to a known size, median', 'range'], lines)
