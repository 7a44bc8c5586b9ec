#!/bin/sh
# Every GPU figure of docs/performance.md, for a machine with CUDA and Triton: sh benchmarks/run_gpu.sh
# Operators of packages that are not installed (subquadratic-ops-torch, nvsubquadratic) are skipped with a line.
set -e
cd "$(dirname "$0")/.."
for size in 14 28 56; do
    ${PYTHON:-python} -m benchmarks.gated_conv --size $size --kernel $((2 * size - 1)) \
        --out "benchmarks/results/gpu_gated_conv_$size.csv"
done
run() {
    name=$1
    shift
    ${PYTHON:-python} -m benchmarks.compare "$@" --device cuda --amp --out "benchmarks/results/gpu_$name.csv"
}
for arch in hpx_former_s18 hb_former_s18; do
    run "eval_224_$arch" backbone $arch --size 224 --batch 128 --against official convformer
    run "train_224_$arch" backbone $arch --size 224 --batch 128 --mode train --against official convformer
    run "train_224_compiled_$arch" backbone $arch --size 224 --batch 128 --mode train --against official convformer --compile
done
detector=configs/hyenapixel/detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py
run train_detection model $detector --size 800x1333 --batch 2 --mode train
run memory_detection model $detector --size 800x1333 --batch 2 --mode memory
