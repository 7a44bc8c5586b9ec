"""A handful of generated images in the exact layout of the public data sets, to prove configs without the data.

``write_tiny('data', num=4)`` puts, under ``data``, the folders that OpenMMLab's base configs name, with the full lists
of categories of the real sets (taken from the toolkits, so the toolkit of each format must be installed)::

    data
    |-- coco                        annotations/{instances,panoptic}_{train,val}2017.json, {train,val}2017/
    |-- ade/ADEChallengeData2016    images/{training,validation}/, annotations/{training,validation}/
    |-- cityscapes                  leftImg8bit/{train,val}/<city>/, gtFine/{train,val}/<city>/
    |-- imagenet                    {train,val}/<wnid>/, meta/{train,val}.txt
    |-- cifar10                     cifar-10-batches-py/
    |-- cifar100                    cifar-100-python/
    |-- tiny-imagenet-200           wnids.txt, words.txt, train/<wnid>/images/, val/images/, val/val_annotations.txt
    |-- celeba                      img_align_celeba/, list_attr_celeba.txt, list_eval_partition.txt
    `-- shapes                      see mmhyena.datasets.shapes

The pictures are Shapes; the labels are drawn at random, so nothing can be learned from them but that everything runs.
Every folder carries a ``manifest.json``: one that is complete is kept, and one that was not written by this generator
is never touched.
"""

from mmhyena.testing.trees import TREES, write_tiny

__all__ = ['TREES', 'write_tiny']
