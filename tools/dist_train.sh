#!/usr/bin/env bash
# Trains on several GPUs of one or several machines, or in several CPU processes where there is no GPU.
#
#   tools/dist_train.sh CONFIG GPUS [ARGUMENT...]     arguments as for tools/train.py
#
# Several machines: run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR (of machine 0) and PORT set; GPUS
# counts those of one machine. PYTHON names the interpreter (default: python).
#
# On SIGTERM, SIGUSR1 or SIGINT the run writes a checkpoint and exits with code 75; --resume goes on from it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 2 ] || die 'usage: tools/dist_train.sh CONFIG GPUS [ARGUMENT...]'
config="$1" gpus="$2"
shift 2
launch "$gpus" "$(dirname "$0")/train.py" "$config" "$@"
