#!/usr/bin/env bash
# Trains on a Slurm cluster, one task per GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENT...]     arguments as for tools/train.py
#
# Settings: GPUS (tasks in all, default 8), GPUS_PER_NODE (default 8, or GPUS if fewer; 0 for a cluster without GPUs,
# whose tasks run on CPUs), CPUS_PER_TASK (default 5), SRUN_ARGS (more arguments of srun), PORT (default 29500),
# PYTHON (default python), WARN_SECONDS (default 120).
#
# On SIGTERM, or SIGUSR1, which Slurm sends WARN_SECONDS before the end of the time limit, the run writes a checkpoint
# and exits with code 75; --resume goes on from it.
set -euo pipefail

case "${1:-}" in -h | --help) sed -n '2,/^set/ { /^set/d; s/^# \{0,1\}//p; }' "$0" && exit 0 ;; esac
if [ $# -lt 4 ]; then
    echo 'error: usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [ARGUMENT...]' >&2
    exit 2
fi
if ! command -v srun >/dev/null; then
    echo 'error: srun is not there: run this on a Slurm login node, or use tools/dist_train.sh' >&2
    exit 2
fi
partition="$1" job_name="$2" config="$3" work_dir="$4"
shift 4

gpus="${GPUS:-8}"
per_node="${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}"
resources=(--ntasks="$gpus" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1)
resources+=(--signal=USR1@"${WARN_SECONDS:-120}")
if [ "$per_node" -gt 0 ]; then resources+=(--gres=gpu:"$per_node" --ntasks-per-node="$per_node"); fi
# SRUN_ARGS is a list of words.
# shellcheck disable=SC2206
more=(${SRUN_ARGS:-})

export MASTER_PORT="${PORT:-29500}"
exec srun --partition="$partition" --job-name="$job_name" "${resources[@]}" "${more[@]}" \
    "${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config" --work-dir "$work_dir" --launcher slurm "$@"
