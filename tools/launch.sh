#!/usr/bin/env bash
# Sourced by dist_train.sh and dist_test.sh: one process per GPU, or per share of the CPU, through torchrun.

# usage: the comment at the top of the script that sources this.
usage() { sed -n '2,/^[^#]/ { /^[^#]/d; s/^# \{0,1\}//p; }' "$0"; }

die() {
    echo "error: $*" >&2
    exit 2
}

is_number() { case "$1" in '' | *[!0-9]*) return 1 ;; *) return 0 ;; esac; }

# launch NPROC SCRIPT [ARGUMENT...]
launch() {
    local nproc="$1" script="$2"
    shift 2
    local nnodes="${NNODES:-1}" place=()
    is_number "$nproc" && [ "$nproc" -gt 0 ] || die "'$nproc' is not a number of processes on this machine"
    is_number "$nnodes" && [ "$nnodes" -gt 0 ] || die "NNODES is '$nnodes': it must be the number of machines"
    if [ "$nnodes" -gt 1 ]; then
        [ -n "${NODE_RANK:-}" ] || die "NODE_RANK is not set: 0 on the first of the $nnodes machines, 1 on the next"
        [ -n "${MASTER_ADDR:-}" ] || die 'MASTER_ADDR is not set: the address of the first machine'
        place=(--node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "${PORT:-29500}")
    elif [ -n "${PORT:-}" ]; then
        place=(--master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "$PORT")
    else
        place=(--standalone) # a free port
    fi
    run_and_pass_signals "${PYTHON:-python}" -m torch.distributed.run --nnodes "$nnodes" --nproc-per-node "$nproc" \
        "${place[@]}" "$script" "$@" --launcher pytorch
}

# Runs a command and exits as it does, or with the code that the training left in MMHYENA_EXIT_FILE (75 after a
# checkpoint on request), which torchrun does not pass on. SIGTERM, SIGUSR1 and SIGINT all ask for that checkpoint.
run_and_pass_signals() {
    local child code signaled
    MMHYENA_EXIT_FILE="$(mktemp "${TMPDIR:-/tmp}/mmhyena-exit.XXXXXX")"
    export MMHYENA_EXIT_FILE
    # torchrun would die of SIGUSR1 sent to the whole job; the training processes take it nevertheless.
    (trap '' USR1 && exec "$@") &
    child=$!
    trap 'signaled=1; kill -TERM "$child" 2>/dev/null || true' TERM USR1 INT
    signaled=1
    while [ "$signaled" = 1 ]; do # a signal ends wait early
        signaled=0
        code=0
        wait "$child" || code=$?
    done
    if [ "$code" != 0 ] && [ -s "$MMHYENA_EXIT_FILE" ]; then code="$(cat "$MMHYENA_EXIT_FILE")"; fi
    rm -f "$MMHYENA_EXIT_FILE"
    exit "$code"
}
