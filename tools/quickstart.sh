#!/usr/bin/env bash
# From a bare machine to a trained HyenaPixel Mask R-CNN:
#
#   bash tools/quickstart.sh            environment, Shapes data, training, COCO evaluation, pictures
#   bash tools/quickstart.sh --quick    the same in about a minute, to see that every part works (or QUICK=1)
#
# Needs Python 3.10 to 3.13, bash and a package index; no compiler, no GPU. What is there already (environment,
# data, finished training) is reused, and an interrupted training resumes.
# Exits with 1 if box or mask mAP stays below 0.50. tools/lib/env.sh lists the settings of the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/env.sh"

CONFIG=configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py
GOAL=0.50
PICTURES=8

usage() { sed -n '2,/^set/ { /^set/d; s/^# \{0,1\}//p; }' "${BASH_SOURCE[0]}"; }

parse_arguments() {
    case "${QUICK:-0}" in '' | 0 | false | no) QUICK=0 ;; *) QUICK=1 ;; esac
    local argument
    for argument in "$@"; do
        case "$argument" in
            --quick) QUICK=1 ;;
            -h | --help) usage && exit 0 ;;
            *) die "unknown argument '$argument': bash tools/quickstart.sh [--quick]" ;;
        esac
    done
}

# Everything that differs between the two modes.
choose_mode() {
    NAME=quickstart
    DATA=data/shapes
    DATA_OPTIONS=()
    TRAIN_OPTIONS=()
    BATCH=8
    if [ "$QUICK" = 1 ]; then
        NAME=quickstart-quick
        DATA=data/shapes-quick
        DATA_OPTIONS=(--train 16 --val 8)
        TRAIN_OPTIONS=(train_cfg.max_epochs=1 train_cfg.val_begin=2 default_hooks.logger.interval=1)
        PICTURES=2
    fi
    WORK="work_dirs/$NAME"
    DATA_PLACE=(
        "train_dataloader.dataset.data_root=$DATA/" "val_dataloader.dataset.data_root=$DATA/"
        "test_dataloader.dataset.data_root=$DATA/" "val_evaluator.ann_file=$DATA/annotations/instances_val.json"
        "test_evaluator.ann_file=$DATA/annotations/instances_val.json"
    )
}

# A GPU that torch sees but cannot use (old driver, unknown architecture) must not stop the run.
choose_device() {
    local device
    device="$("$PY" - 2>/dev/null <<'PYTHON'
import torch

if torch.cuda.is_available():
    image = torch.rand(1, 1, 16, 16, device='cuda')
    torch.fft.rfft2(torch.nn.functional.conv2d(image, image[..., :3, :3])).abs().sum().item()
    print('GPU', torch.cuda.get_device_name())
PYTHON
    )" || device=''
    TRAINER=(tools/train.py)
    LAUNCH_OPTIONS=()
    THREADS="$(getconf _NPROCESSORS_ONLN)"
    if [ -z "$device" ]; then
        local cores
        cores="$(getconf _NPROCESSORS_ONLN)"
        export CUDA_VISIBLE_DEVICES=''
        device="CPU, $cores cores"
        # Two processes that share the batch use two cores better than two threads do: most operators here are short.
        if [ "$cores" -ge 2 ]; then
            device="$device, training in two processes"
            TRAINER=(-m torch.distributed.run --standalone --nproc-per-node 2 tools/train.py)
            LAUNCH_OPTIONS=(--launcher pytorch)
            THREADS=$((cores / 2))
            TRAIN_OPTIONS+=("train_dataloader.batch_size=$((BATCH / 2))")
        fi
    fi
    say "device: $device"
}

# Of each progress line: position, time left and main figures. Line by line, since some awks wait for a full buffer.
show_progress() {
    local line
    while IFS= read -r line; do
        case "$line" in
            *' - INFO - '*Epoch\(* | *' - INFO - '*Iter\(*)
                printf '%s\n' "${line#* - INFO - }" | sed -E \
                    -e 's/ +(base_lr|lr|time|data_time|memory|grad_norm|acc|loss_[a-z_]+): *[^ ]+//g' \
                    -e 's/ +coco\/[a-z]+_mAP_[0-9a-z]+: *[^ ]+//g' -e 's/^/        /'
                ;;
        esac
    done
}

# Runs a tool with its whole output in a log.
run_tool() { # LOG COMMAND...
    local log="$1"
    shift
    mkdir -p "$(dirname "$log")"
    "$PY" -u "$@" 2>&1 </dev/null | tee "$log" | show_progress || {
        grep -v '^ *$' "$log" | tail -n 12 >&2
        local word
        for word in "$@"; do case "$word" in *.py) break ;; esac; done
        die "$word failed (whole output: $ROOT/$log)"
    }
}

make_data() {
    say "step 2 of 5: Shapes data in $DATA"
    check_space "$ROOT" 1 'training'
    # Reuses what is there; replaces what an older version or another mode of this script has generated.
    "$PY" tools/dataset_converters/shapes.py --out "$DATA" --force ${DATA_OPTIONS[@]+"${DATA_OPTIONS[@]}"} </dev/null ||
        die "the Shapes data could not be written to $ROOT/$DATA"
}

training_inputs() {
    {
        echo "${TRAIN_OPTIONS[*]-}"
        cat "$CONFIG" "$DATA/annotations/instances_train.json"
        find configs/_base_ -name '*.py' | LC_ALL=C sort | xargs cat
    } | cksum
}

train_model() {
    local resume=()
    mkdir -p "$WORK"
    # A checkpoint of another config or other data is of no use.
    if [ "$(cat "$WORK/inputs" 2>/dev/null)" != "$(training_inputs)" ]; then
        rm -f "$WORK/last_checkpoint" "$WORK/trained"
        training_inputs >"$WORK/inputs"
    fi
    if [ -f "$WORK/trained" ] && [ -f "$(cat "$WORK/trained")" ]; then
        say "step 3 of 5: training is done already ($WORK)"
    else
        if [ -f "$WORK/last_checkpoint" ]; then resume=(--resume); fi
        say "step 3 of 5: training $CONFIG${resume[0]:+ (resumed)}"
        OMP_NUM_THREADS="$THREADS" run_tool "$WORK/train.log" "${TRAINER[@]}" "$CONFIG" --work-dir "$WORK" \
            ${resume[@]+"${resume[@]}"} ${LAUNCH_OPTIONS[@]+"${LAUNCH_OPTIONS[@]}"} --cfg-options "${DATA_PLACE[@]}" ${TRAIN_OPTIONS[@]+"${TRAIN_OPTIONS[@]}"}
        cp "$WORK/last_checkpoint" "$WORK/trained"
    fi
    CHECKPOINT="$(cat "$WORK/trained")"
}

evaluate_model() {
    say "step 4 of 5: evaluating $CHECKPOINT with pycocotools"
    rm -f "$WORK/metrics.json"
    run_tool "$WORK/test.log" tools/test.py "$CONFIG" "$CHECKPOINT" --work-dir "$WORK" --out "$WORK/metrics.json" \
        --cfg-options "${DATA_PLACE[@]}"
}

draw_pictures() {
    OUT="outputs/$NAME"
    say "step 5 of 5: drawing predictions on $PICTURES validation images"
    rm -rf "$OUT" "$WORK/samples"
    mkdir -p "$WORK/samples"
    find "$DATA/val" -type f | LC_ALL=C sort | head -n "$PICTURES" | while read -r image; do cp "$image" "$WORK/samples"; done
    run_tool "$WORK/demo.log" demo/image_demo.py "$WORK/samples" "$CONFIG" "$CHECKPOINT" --out-dir "$OUT"
    local drawn
    drawn="$(find "$OUT" -type f \( -name '*.png' -o -name '*.jpg' \) | wc -l)"
    [ "$drawn" -ge "$PICTURES" ] || die "only $drawn of $PICTURES pictures were drawn in $ROOT/$OUT"
}

# Prints the result and returns 1 if a figure is missing or, in the full mode, below the goal.
report() {
    "$PY" - "$WORK/metrics.json" "$GOAL" "$QUICK" <<'PYTHON'
import json
import math
import sys

path, goal, quick = sys.argv[1], float(sys.argv[2]), sys.argv[3] == '1'
metrics = json.load(open(path))
scores = {kind: metrics.get(f'coco/{kind}_mAP', math.nan) for kind in ('bbox', 'segm')}
print('\n'.join(f'        {kind} mAP {score:.3f}' for kind, score in scores.items()))
sys.exit(not all(math.isfinite(score) and (quick or score >= goal) for score in scores.values()))
PYTHON
}

main() {
    parse_arguments "$@"
    choose_mode
    say 'step 1 of 5: environment'
    ensure_env
    cd "$ROOT"
    choose_device
    make_data
    local start=$SECONDS
    train_model
    local trained=$((SECONDS - start))
    evaluate_model
    draw_pictures
    say "results on held-out images (training took $((trained / 60)) min $((trained % 60)) s in this run)"
    local passed=1
    report || passed=0
    echo "        pictures    $ROOT/$OUT"
    echo "        checkpoint  $CHECKPOINT"
    if [ "$passed" = 0 ]; then
        if [ "$QUICK" = 1 ]; then die "FAIL: the evaluation gave no figures (whole output: $ROOT/$WORK/test.log)"; fi
        die "FAIL: bbox and segm mAP of at least $GOAL were expected"
    fi
    if [ "$QUICK" = 1 ]; then
        say 'PASS: every part works. The quick mode trains for seconds, so these figures mean nothing.'
    else
        say "PASS: bbox and segm mAP are at least $GOAL"
    fi
}

main "$@"
