# A small head of Mask2Former for Shapes, the same for instances, panoptic and semantic segmentation. The config that
# inherits this puts `head` and `head_train_cfg` where its toolkit wants them.
embed_dims = 64
attention = dict(embed_dims=embed_dims, num_heads=4, dropout=0.0, batch_first=True)
ffn = dict(
    embed_dims=embed_dims, feedforward_channels=128, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True)
)
positions = dict(num_feats=embed_dims // 2, normalize=True)
head = dict(
    in_channels=[32, 64, 128, 192],
    strides=[4, 8, 16, 32],
    feat_channels=embed_dims,
    out_channels=embed_dims,
    num_queries=30,
    num_transformer_feat_level=3,
    enforce_decoder_input_project=False,
    positional_encoding=positions,
    pixel_decoder=dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        num_outs=3,
        norm_cfg=dict(type='GN', num_groups=16),
        act_cfg=dict(type='ReLU'),
        positional_encoding=positions,
        encoder=dict(
            num_layers=2,
            layer_cfg=dict(self_attn_cfg=dict(num_levels=3, num_points=4, **attention), ffn_cfg=ffn),
        ),
    ),
    transformer_decoder=dict(
        return_intermediate=True,
        num_layers=3,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        init_cfg=None,
    ),
    loss_mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0),
    loss_dice=dict(
        type='mmdet.DiceLoss',
        use_sigmoid=True,
        activate=True,
        reduction='mean',
        naive_dice=True,
        eps=1.0,
        loss_weight=5.0,
    ),
)
loss_cls = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False, loss_weight=2.0, reduction='mean')
head_train_cfg = dict(
    num_points=1024,
    oversample_ratio=3.0,
    importance_sample_ratio=0.75,
    assigner=dict(
        type='mmdet.HungarianAssigner',
        match_costs=[
            dict(type='mmdet.ClassificationCost', weight=2.0),
            dict(type='mmdet.CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
            dict(type='mmdet.DiceCost', weight=5.0, pred_act=True, eps=1.0),
        ],
    ),
    sampler=dict(type='mmdet.MaskPseudoSampler'),
)
