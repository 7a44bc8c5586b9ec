#!/bin/sh
# Every CPU figure of docs/performance.md: sh benchmarks/run_cpu.sh [--threads N] [--clock cpu] [--rounds N]
# On a machine that others use as well: sh benchmarks/run_cpu.sh --threads 1 --clock cpu
set -e
cd "$(dirname "$0")/.."
run() {
    name=$1
    shift
    ${PYTHON:-python} -m benchmarks.compare "$@" --out "benchmarks/results/cpu_$name.csv"
}
run op op 64x56x56 64x128x128 64x200x336 320x50x84 512x7x7 --kernel 111 111 111 27 13 "$@"
run growth op 64x56x56 64x112x112 64x224x224 64x448x448 --kernel 111 223 447 895 "$@"
for size in 224 512 800x1344; do
    for arch in hpx_former_s18 hb_former_s18; do
        run "${arch}_${size}_convformer" backbone $arch --size $size --rounds 5 --fuse --against convformer "$@"
    done
done
run fused backbone hpx_former_s18 hb_former_s18 --size 224 512 800x1344 --rounds 5 --fuse --against elementary official "$@"
run train backbone hpx_former_s18 --size 512 --mode train --batch 2 --rounds 5 "$@"
run memory backbone hpx_former_s18 hb_former_s18 --size 512 --mode memory
${PYTHON:-python} -m benchmarks.upper_bound "$@"
