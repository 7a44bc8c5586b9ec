"""Wrong options and config files through the tools themselves: exit code 2 and one line that names what is wrong."""

from __future__ import annotations

import pytest
from bad_inputs import assert_one_line, run_train

pytestmark = pytest.mark.usefixtures('no_loggers')

# Options of tools/train.py: task, options, what the line says.
OPTIONS: list[tuple[str, list[str], list[str]]] = [
    ('cls', ['model=None'], ['no model']),
    ('cls', ['model=3'], ['model is 3']),
    ('cls', ['train_cfg=None'], ['train_cfg', 'train_dataloader']),
    ('cls', ['optim_wrapper=None'], ['no optim_wrapper']),
    ('cls', ['val_evaluator=None'], ['no val_evaluator']),
    ('cls', ['val_cfg=None'], ['no val_cfg']),
    ('cls', ['train_cfg=5'], ['train_cfg must be a dict']),
    ('cls', ['default_hooks=1'], ['default_hooks must be a dict']),
    ('cls', ['custom_hooks=[1]'], ['custom_hooks.0', 'dict with a type']),
    ('cls', ['custom_hooks=[{type:x}]'], ['custom_hooks', 'x is not in']),
    ('cls', ["custom_hooks=[dict(type='Foo')]"], ['custom_hooks.0.type', 'Foo']),
    ('cls', ['train_dataloader.batchsize=4'], ['train_dataloader.batchsize']),
    ('cls', ['train_dataloader.batch_size=0'], ['train_dataloader.batch_size must be', 'got 0']),
    ('cls', ['train_dataloader.batch_size=-2'], ['train_dataloader.batch_size must be', 'got -2']),
    ('cls', ['train_dataloader.batch_size=two'], ['train_dataloader.batch_size must be', "'two'"]),
    ('cls', ['train_dataloader.num_workers=-1'], ['train_dataloader.num_workers', 'at least 0']),
    ('cls', ['val_dataloader.batch_size=1.5'], ['val_dataloader.batch_size', '1.5']),
    ('cls', ['train_dataloader.sampler.type=Foo'], ['train_dataloader.sampler.type', 'Foo']),
    ('cls', ['train_dataloader.sampler.shuffel=True'], ['train_dataloader.sampler.shuffel']),
    ('cls', ['train_dataloader.collate_fn.type=foo'], ['train_dataloader.collate_fn']),
    ('cls', ['train_dataloader.dataset.type=Foo'], ['train_dataloader.dataset.type', 'Foo']),
    ('cls', ['train_dataloader.dataset.typ=x'], ['train_dataloader.dataset.typ']),
    ('cls', ['train_dataloader.dataset.pipeline.9.type=x'], ['train_dataloader.dataset.pipeline.9.type', 'Index 9']),
    ('cls', ['train_dataloader.dataset.pipeline.1.type=Foo'], ['train_dataloader.dataset.pipeline', 'Foo']),
    ('cls', ['train_dataloader.dataset.pipeline.1.scael=3'], ['scael']),
    ('cls', ['train_dataloader.dataset.data_prefix=nope'], ['nope does not exist', 'data_prefix']),
    ('cls', ['train_dataloader.dataset.data_root=nope'], ['nope does not exist', 'data_root']),
    ('cls', ['train_dataloader.dataset.ann_file=nope.txt'], ['nope.txt does not exist']),
    ('cls', ["train_dataloader.dataset.metainfo={'classes': 'circle'}"], ['is the text', "('circle',)"]),
    ('cls', ["train_dataloader.dataset.metainfo={'classes': [1, 2]}"], ['sequence of names']),
    ('cls', ["train_dataloader.dataset.metainfo={'classes': ['a', 'a']}"], ['all differ']),
    ('cls', ["train_dataloader.dataset.metainfo={'classes': ['circle', 'ring']}"], ['class folder square']),
    ('cls', ['optim_wrapper.type=Foo'], ['optim_wrapper.type', 'Foo']),
    ('cls', ['optim_wrapper.clip_grad.max_nrom=1'], ['optim_wrapper', 'max_nrom']),
    ('cls', ['optim_wrapper.optimizer.lrr=1'], ['optim_wrapper.optimizer.lrr']),
    ('cls', ['optim_wrapper.optimizer.lr=abc'], ['optim_wrapper.optimizer.lr must be', "'abc'"]),
    ('cls', ['optim_wrapper.optimizer.lr=-1'], ['optim_wrapper.optimizer.lr must be', '-1']),
    ('cls', ['optim_wrapper.optimizer.lr=nan'], ['optim_wrapper.optimizer.lr', 'nan']),
    ('cls', ['optim_wrapper.optimizer.weight_decay=x'], ['weight_decay must be']),
    ('cls', ['optim_wrapper.optimizer.betas=0.9'], ['optim_wrapper.optimizer']),
    ('cls', ['optim_wrapper.optimizer.type=Adamz'], ['optim_wrapper.optimizer.type', 'Adamz']),
    ('cls', ['optim_wrapper.accumulative_counts=0'], ['optim_wrapper.accumulative_counts', 'at least 1']),
    ('cls', ['optim_wrapper.constructor=Foo'], ['optim_wrapper', 'Foo']),
    ('cls', ['param_scheduler=[{type:Foo}]'], ['param_scheduler.0.type', 'Foo']),
    ('cls', ['param_scheduler=[{type:LinearLR,start_factr:1}]'], ['param_scheduler.0.start_factr']),
    ('cls', ['train_cfg.max_epochs=-1'], ['train_cfg.max_epochs must be', '-1']),
    ('cls', ['train_cfg.max_epochs=0'], ['train_cfg.max_epochs must be']),
    ('cls', ['train_cfg.max_epochs=many'], ['train_cfg.max_epochs must be']),
    ('cls', ['train_cfg.val_interval=0'], ['train_cfg.val_interval must be']),
    ('cls', ['train_cfg.max_epoch=3'], ['train_cfg.max_epoch']),
    ('cls', ['train_cfg.type=FooLoop'], ['train_cfg.type', 'FooLoop']),
    ('cls', ['val_evaluator.type=Foo'], ['val_evaluator.type', 'Foo']),
    ('cls', ['val_evaluator.topp=2'], ['val_evaluator.topp']),
    ('cls', ['visualizer.type=Foo'], ['visualizer.type', 'Foo']),
    ('cls', ['log_level=LOUD'], ['log_level', 'LOUD']),
    ('cls', ['broken_images=drop'], ['broken_images must be']),
    ('cls', ['default_scope=mmpose'], ['mmpose']),
    ('cls', ['trian_cfg.max_epochs=1'], ["did you mean 'train_cfg'"]),
    ('cls', ['load_form=x'], ["did you mean 'load_from'"]),
    ('cls', ['train_cfg'], ['expected key=value']),
    ('cls', ['=3'], ['expected key=value']),
    ('cls', ['model..type=3'], ['empty part']),
    ('cls', ['model.backbone.out_indices=[0,1'], ["']' is missing"]),
    ('cls', ['model.backbone.out_indices=0,1]'], ["']' closes no bracket"]),
    ('cls', ['custom_hooks=[{type}]'], ['key: value']),
    ('cls', ['model.type=Foo'], ['model.type', 'Foo']),
    ('cls', ['model.backbon.type=x'], ['model.backbon']),
    ('cls', ['model.backbone.type=Foo'], ['model.backbone.type', 'Foo']),
    ('cls', ['model.backbone.archh=x'], ['model.backbone.archh']),
    ('cls', ['model.backbone.arch=hpx_former_s19'], ['model.backbone.arch', 'hpx_former_s19']),
    ('cls', ['model.backbone.out_indices=[7]'], ['model.backbone.out_indices', '7']),
    ('cls', ['model.backbone.out_indices=[3,3]'], ['model.backbone.out_indices', '3']),
    ('cls', ['model.backbone.out_indices=abc'], ['model.backbone.out_indices', 'abc']),
    ('cls', ['model.backbone.out_indices=[1.5]'], ['model.backbone.out_indices', '1.5']),
    ('cls', ['model.backbone.frozen_stages=-5'], ['model.backbone.frozen_stages', '-5']),
    ('cls', ['model.backbone.frozen_stages=x'], ['model.backbone.frozen_stages']),
    ('cls', ['model.backbone.drop_path_rate=2'], ['model.backbone.drop_path_rate', '2']),
    ('cls', ['model.backbone.drop_path_rate=nan'], ['model.backbone.drop_path_rate', 'nan']),
    ('cls', ['model.backbone.drop_path_rate=abc'], ['model.backbone.drop_path_rate', 'abc']),
    ('cls', ['model.backbone.in_channels=0'], ['model.backbone.in_channels', '0']),
    ('cls', ['model.backbone.in_channels=1'], ['model.backbone', 'channels']),
    ('cls', ['model.head.in_channels=7'], ['model.head']),
    ('cls', ['model.head.num_classes=0'], ['model.head.num_classes']),
    ('cls', ['model.head.num_classes=4'], ['model.head.num_classes is 4', '5 classes', 'model.head.num_classes=5']),
    ('cls', ['model.head.num_classes=6'], ['model.head.num_classes is 6', '5 classes']),
    ('cls', ['model.head.type=Foo'], ['model.head.type', 'Foo']),
    ('cls', ['model.head.loss.type=Foo'], ['model.head.loss.type', 'Foo']),
    ('cls', ['data_preprocessor.num_classes=7'], ['data_preprocessor.num_classes is 7']),
    ('cls', ['default_hooks.checkpoint.interval=x'], ['default_hooks.checkpoint.interval must be', "'x'"]),
    ('cls', ['default_hooks.checkpoint.interval=0'], ['default_hooks.checkpoint.interval must be', 'got 0']),
    ('cls', ['default_hooks.checkpoint.max_keep_ckpts=0'], ['default_hooks.checkpoint.max_keep_ckpts must be']),
    (
        'cls',
        ['default_hooks.checkpoint.save_best=nope', 'default_hooks.checkpoint.rule=greater'],
        ['nope', 'accuracy/'],
    ),
    ('cls', ['default_hooks.logger.interval=0'], ['default_hooks.logger.interval']),
    ('cls', ['train_dataloader.persistent_workers=maybe'], ['persistent_workers must be True or False']),
    ('cls', ['train_dataloader.pin_memory=maybe'], ['train_dataloader.pin_memory must be True or False']),
    ('cls', ['param_scheduler=[{type:CosineAnnealingLR,T_max:0}]'], ['param_scheduler.0.T_max must be', 'got 0']),
    ('cls', ['param_scheduler=[{type:MultiStepLR,milestones:abc}]'], ['param_scheduler.0.milestones must be']),
    (
        'cls',
        ['optim_wrapper.paramwise_cfg={norm_decay:0}'],
        ['optim_wrapper.paramwise_cfg.norm_decay', 'norm_decay_mult'],
    ),
    ('cls', ['optim_wrapper.clip_grad={max_norm:-1}'], ['optim_wrapper.clip_grad.max_norm must be', '-1']),
    ('cls', ['data_preprocessor.std=[1,-1,1]'], ['data_preprocessor.std.1 must be', '-1']),
    ('cls', ['data_preprocessor.std=[0,0,0]'], ['data_preprocessor.std.0 must be', 'got 0']),
    ('cls', ['custom_imports={imports:no.such}'], ['custom_imports', 'no']),
    ('cls', ['launcher=slurm'], ['use --launcher']),
    ('cls', ['resume=maybe'], ['resume must be True or False']),
    ('cls', ['load_from=7'], ['load_from must be']),
    ('cls', ['log_processor.window_size=0'], ['log_processor.window_size must be']),
    ('cls', ['custom_hooks=[{type:EMAHook,momentum:5}]'], ['custom_hooks.0', 'momentum must be in range']),
    ('cls', ['model.backbone.init_cfg=3'], ['model']),
    ('cls', ['env_cfg.mp_cfg.mp_start_method=foo'], ['env_cfg.mp_cfg.mp_start_method']),
    ('cls', ['randomness.seed=abc'], ['randomness.seed']),
    ('cls', ['val_evaluator.topk=[99]'], ['val_evaluator.topk']),
    ('det', ['model.roi_head.bbox_head.num_classes=4'], ['roi_head.bbox_head.num_classes is 4', '5 classes']),
    ('det', ['model.roi_head.mask_head.num_classes=6'], ['roi_head.mask_head.num_classes is 6']),
    ('det', ['model.neck.in_channels=[32,64,128]'], ['model.neck']),
    ('det', ['model.backbone.out_indices=[1,2,3]'], ['model.neck']),
    ('det', ['model.neck.num_outs=0'], ['model.neck.num_outs']),
    ('det', ['model.rpn_head.anchor_generator.type=Foo'], ['model.rpn_head.anchor_generator.type', 'Foo']),
    ('det', ['train_dataloader.dataset.data_prefix.img=nope/'], ['images are not there', 'data_prefix']),
    ('det', ['train_dataloader.dataset.ann_file=nope.json'], ['nope.json does not exist']),
    ('det', ["train_dataloader.dataset.metainfo={'classes': 'circle'}"], ['is the text']),
    (
        'det',
        ["train_dataloader.dataset.metainfo={'classes': ('ring','circle','square','star','triangle')}"],
        ['order', 'exchanged'],
    ),
    (
        'det',
        ["train_dataloader.dataset.metainfo={'classes': ('circel','ring','square','star','triangle')}"],
        ["no class 'circel'", "did you mean 'circle'"],
    ),
    ('det', ["train_dataloader.dataset.metainfo={'classes': ('cat','dog')}"], ['none of the classes']),
    ('det', ['val_evaluator.ann_file=nope.json'], ['val_evaluator.ann_file', 'does not exist']),
    ('det', ['val_evaluator.metric=foo'], ['val_evaluator', 'foo']),
    ('seg', ['model.decode_head.num_classes=5'], ['model.decode_head.num_classes is 5', '6 classes']),
    ('seg', ['model.decode_head.num_classes=7'], ['model.decode_head.num_classes is 7']),
    ('seg', ['model.auxiliary_head.num_classes=19'], ['model.auxiliary_head.num_classes is 19']),
    ('seg', ['model.decode_head.in_index=[0,1]'], ['model.decode_head']),
    ('seg', ['train_dataloader.dataset.img_suffix=.bmp'], ['.bmp', 'img_suffix']),
    ('seg', ['train_dataloader.dataset.seg_map_suffix=_x.png'], ['label maps are not there', 'seg_map_suffix']),
    ('seg', ['train_dataloader.dataset.data_prefix.img_path=nope'], ['nope does not exist']),
    ('seg', ['train_dataloader.dataset.reduce_zero_label=False'], ['--cfg-options reduce_zero_label=False', 'reaches']),
    ('seg', ['reduce_zero_label=maybe'], ['reduce_zero_label must be True or False']),
    ('seg', ['reduce_zero_label=False'], ['label 6', 'set --cfg-options reduce_zero_label=True']),
    (
        'seg',
        ['train_dataloader.batch_size=1', 'model.decode_head.norm_cfg.type=BN'],
        ['raise train_dataloader.batch_size'],
    ),
    ('seg', ["train_dataloader.dataset.metainfo={'classes': ('a','b'), '_delete_': True}"], ['label']),
]


@pytest.mark.parametrize('task, options, expected', OPTIONS, ids=[f'{task}-{opts[0]}' for task, opts, _ in OPTIONS])
def test_options(task, options, expected, tools, shapes, tmp_path, capsys):
    assert_one_line(run_train(tools, shapes, task, tmp_path, *options), capsys.readouterr().err, *expected)


# Text or bytes of a config file, its name, what the line says.
CONFIG_FILES: list[tuple[bytes, str, list[str]]] = [
    (b'model = dict(', 'x.py', ['x.py cannot be read']),
    (b'\x80\x02abc', 'x.py', ['x.py cannot be read']),
    (b'', 'x.py', ['default_scope']),
    (b'import nothing_there', 'x.py', ['cannot be read', 'nothing_there']),
    (b'1 / 0', 'x.py', ['cannot be read', 'ZeroDivisionError']),
    (b'raise SystemError("no")', 'x.py', ['cannot be read', 'no']),
    (b'a = undefined', 'x.py', ['cannot be read', 'undefined']),
    (b"_base_ = './missing.py'", 'x.py', ['missing.py']),
    (b'{"model": ', 'x.json', ['cannot be read']),
    (b'model: [', 'x.yaml', ['cannot be read']),
    (b'model = 1', 'x.txt', ['is not a config']),
    (b'PK\x03\x04', 'x.pth', ['is not a config']),
    (b"default_scope = 'mmpretrain'", 'x.py', ['no train_dataloader']),
    (b"default_scope = 'mmpretrain'\ntrain_dataloder = dict()", 'x.py', ["did you mean 'train_dataloader'"]),
    (b"default_scope = 'mmpretrain'\noptim_wraper = dict()", 'x.py', ["did you mean 'optim_wrapper'"]),
    (b"default_scope = 'mmpretrain'\ncustom_hook = []", 'x.py', ["did you mean 'custom_hooks'"]),
    (b"default_scope = 'mmpose'", 'x.py', ['mmpose']),
    (b"custom_imports = dict(imports=['not.there'])\ndefault_scope = 'mmdet'", 'x.py', ['not.there']),
]


@pytest.mark.parametrize('content, name, expected', CONFIG_FILES)
@pytest.mark.parametrize('tool', ['train', 'check'])
def test_config_files(tool, content, name, expected, tools, tmp_path, capsys):
    file = tmp_path / name
    file.write_bytes(content)
    if tool == 'check' and expected == ['no train_dataloader']:
        expected = ['has no data']
    arguments = [str(file)] if tool == 'check' else [str(file), '--work-dir', str(tmp_path / 'work')]
    assert_one_line(tools[tool](arguments), capsys.readouterr().err, *expected)


def test_one_traceback_on_request(tools, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('MMHYENA_TRACEBACK', '1')
    assert tools['train'](['nothing.py']) == 2
    assert 'Traceback' in capsys.readouterr().err


def test_work_dir_that_is_a_file(tools, shapes, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert_one_line(run_train(tools, shapes, 'cls', tmp_path / 'file'), capsys.readouterr().err, 'file')


def test_number_of_rows():
    assert len(OPTIONS) + 2 * len(CONFIG_FILES) >= 150
