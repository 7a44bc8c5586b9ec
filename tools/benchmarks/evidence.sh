#!/bin/sh
# All figures of docs/evidence.md from the models that compare.py trained, then its tables and pictures:
#   sh tools/benchmarks/evidence.sh COMPARE_FOLDER [OUT] [FAR_FOLDER]
# Studies whose csv lies in OUT already are kept. FAR_FOLDER holds far-context runs, one folder per number of images.
set -e
[ -d "$1" ] || { echo "usage: $0 COMPARE_FOLDER [OUT] [FAR_FOLDER]" >&2; exit 2; }
compare=$(cd "$1" && pwd)
mkdir -p "${2:-work_dirs/evidence}"
out=$(cd "${2:-work_dirs/evidence}" && pwd)
far=${3:+$(cd "$3" && pwd)}
cd "$(dirname "$0")/../.."
python=${PYTHON:-python}

study() {  # NAME TOOL TASK MIXERS ARGUMENTS: a tool on the models of the mixers, unless its csv is there
    csv=$out/$1.csv
    tool=$2
    models=$compare/$3
    mixers=$4
    shift 4
    if [ -f "$csv" ]; then return; fi
    for name in $mixers; do
        set -- "$models/$name/seed0/config.py" "$(cat "$models/$name/seed0/last_checkpoint")" "$@"
    done
    $python "tools/analysis_tools/$tool.py" "$@"
}

canvas=$out/canvas
for sides in 0.5:80:60 1.5:240:22 2:320:12 3:480:8; do
    factor=${sides%%:*}
    rest=${sides#*:}
    $python tools/dataset_converters/shapes.py --out "$canvas/$factor" --size "${rest%:*}" --val "${rest#*:}" \
        --figure-side 160 --train 0 --cls-train 0 --cls-val 0
done
images=16
for task in segmentation detection; do
    reach=reach_$task
    study "${reach}_hpx" ablate_reach $task hpx --taps 1 3 7 15 31 --per-stage --out "$out/${reach}_hpx.csv"
    study "${reach}_hyena_nd" ablate_reach $task hyena_nd --taps 1 3 7 15 31 --out "$out/${reach}_hyena_nd.csv"
    study "${reach}_hb" ablate_reach $task hb --taps 7 31 127 --out "$out/${reach}_hb.csv"
    for mixer in hpx hb hyena_nd attention convformer; do
        resolution=resolution_${task}_$mixer
        study "$resolution" ablate_resolution $task $mixer --max-images $images --factors 0.5 1 1.5 2 3 \
            --canvas-data "$canvas/{factor}" --out "$out/$resolution.csv"
    done
    images=12
done
study erf_segmentation visualize_erf segmentation 'convformer hb hpx' \
    --images data/shapes/val --num 16 --size 160 160 --out "$out/erf_segmentation.png"
study kernels_hpx visualize_kernels segmentation hpx --channels 3 --out "$out/kernels_hpx.png"
for resize in resample extend; do
    study kernels_hpx_$resize visualize_kernels segmentation hpx --channels 3 --spatial 40 40 \
        --filter-resize $resize --out "$out/kernels_hpx_$resize.png"
done
if [ -n "$far" ]; then
    for folder in "$far"/*/; do cp "$folder/segmentation.csv" "$out/far_$(basename "$folder").csv"; done
fi
exec $python tools/benchmarks/evidence.py --collect "$compare" "$out"
