#!/bin/sh
# Every GPU row of docs/performance.md, for a machine with CUDA and Triton: sh benchmarks/run_gpu.sh
set -e
cd "$(dirname "$0")/.."
python -m benchmarks.gated_conv --out benchmarks/results/gpu_gated_conv.csv
run() {
    name=$1
    shift
    ${PYTHON:-python} -m benchmarks.compare "$@" --device cuda --amp --out "benchmarks/results/gpu_$name.csv"
}
run train_224 backbone hpx_former_s18 --size 224 --batch 128 --mode train
run train_224_convformer backbone hpx_former_s18 --size 224 --batch 128 --mode train --against convformer
run train_224_convformer_compiled backbone hpx_former_s18 --size 224 --batch 128 --mode train --against convformer --compile
detector=configs/hyenapixel/detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py
run train_detection model $detector --size 800x1333 --batch 2 --mode train
run memory_detection model $detector --size 800x1333 --batch 2 --mode memory
