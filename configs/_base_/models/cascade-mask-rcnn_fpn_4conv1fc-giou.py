# Cascade Mask R-CNN with FPN, box heads of four convolutions and one linear layer, and the GIoU loss.
_base_ = './mask-rcnn_fpn.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)
stage_stds = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
stage_ious = (0.5, 0.6, 0.7)

bbox_heads = []
rcnn_stages = []
for stds, iou in zip(stage_stds, stage_ious):
    bbox_heads.append(
        dict(
            type='ConvFCBBoxHead',
            num_shared_convs=4,
            num_shared_fcs=1,
            in_channels=_base_.fpn_channels,
            conv_out_channels=_base_.fpn_channels,
            fc_out_channels=1024,
            roi_feat_size=7,
            num_classes=_base_.num_classes,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=stds),
            reg_class_agnostic=False,
            reg_decoded_bbox=True,  # the GIoU loss compares boxes, not their offsets
            norm_cfg=norm_cfg,
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
        )
    )
    rcnn_stages.append(
        dict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=iou,
                neg_iou_thr=iou,
                min_pos_iou=iou,
                match_low_quality=False,
                ignore_iof_thr=-1,
            ),
            sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
            mask_size=28,
            pos_weight=-1,
            debug=False,
        )
    )
del stds, iou

model = dict(
    type='CascadeRCNN',
    rpn_head=dict(loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)),
    roi_head=dict(type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1.0, 0.5, 0.25], bbox_head=bbox_heads),
    train_cfg=dict(rpn=dict(allowed_border=0), rpn_proposal=dict(max_per_img=2000), rcnn=rcnn_stages),
)
