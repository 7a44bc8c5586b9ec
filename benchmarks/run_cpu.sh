#!/bin/sh
# Every CPU figure of docs/performance.md, in less than half an hour on two quiet cores:
#     sh benchmarks/run_cpu.sh [--clock cpu] [--rounds N]
#     OFFICIAL=../HyenaPixel sh benchmarks/run_cpu.sh      # and against a checkout of the official code
# Records go to benchmarks/results, or to the folder RESULTS.
# On a machine that others use as well: THREADS=1 sh benchmarks/run_cpu.sh --clock cpu
set -e
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
threads=${THREADS:-$(nproc)}
results=${RESULTS:-benchmarks/results}
archs='hpx_former_s18 hb_former_s18'
run() {
    name=$1
    shift
    echo "$(date +%T) $name"
    $python -m benchmarks.compare "$@" --out "$results/cpu_$name.csv"
}
# One long convolution.
run op op 64x56x56 64x128x128 64x200x336 320x50x84 512x7x7 --kernel 111 111 111 27 13 --threads "$threads" "$@"
run growth op 64x56x56 64x112x112 64x224x224 64x448x448 --kernel 111 223 447 895 --rounds 5 --threads "$threads" "$@"
# Features: small images, then large ones with fewer rounds.
peers='elementary official convformer convnext'
run features backbone $archs --size 224 512 --rounds 15 --fuse --against $peers --threads "$threads" "$@"
run features_large backbone $archs --size 800x1344 --rounds 3 --warmup 1 --fuse --against $peers --threads "$threads" "$@"
# bfloat16, batches and threads.
run bfloat16 backbone $archs --size 224 512 --rounds 7 --fuse --amp --against elementary convformer convnext \
    --threads "$threads" "$@"
run batches backbone $archs --size 224 --batch 1 8 --rounds 5 --fuse --against official convformer convnext \
    --threads "$threads" "$@"
run threads_1 backbone $archs --size 224 --rounds 7 --fuse --against official convformer convnext --threads 1 "$@"
run compile backbone $archs --size 224 --rounds 7 --compile --against elementary --threads "$threads" "$@"
# A training step, and what it saves for backward.
run train backbone hpx_former_s18 --size 512 --mode train --batch 2 --rounds 5 --warmup 1 --threads "$threads" "$@"
run memory backbone $archs --size 512 --mode memory --threads "$threads"
if [ -n "$OFFICIAL" ]; then
    run official_code backbone $archs --size 224 512 --rounds 5 --warmup 1 --fuse --official "$OFFICIAL" \
        --threads "$threads" "$@"
    run official_code_large backbone $archs --size 800x1344 --rounds 3 --warmup 1 --fuse --official "$OFFICIAL" \
        --threads "$threads" "$@"
    run official_code_train backbone hpx_former_s18 --size 512 --mode train --batch 2 --rounds 3 --warmup 1 \
        --official "$OFFICIAL" --threads "$threads" "$@"
fi
# Where the time goes.
profile() {
    name=$1
    shift
    echo "$(date +%T) profile_$name"
    $python -m benchmarks.profile_ops hpx_former_s18 "$@" --threads "$threads" --out "$results/cpu_profile_$name.csv"
}
for size in 224 512 800x1344; do profile $size --size $size --fuse; done
profile bfloat16 --size 512 --fuse --amp
profile train --size 512 --batch 2 --mode train
# An image size seen for the first time.
for arch in $archs; do
    echo "$(date +%T) new_size $arch"
    $python -m benchmarks.new_size "$arch" --out "$results/cpu_new_size_$arch.csv"
done
$python -m benchmarks.upper_bound --threads "$threads" --csv "$results/cpu_upper_bound.csv" "$@"
echo "$(date +%T) done"
