#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=16 --gpus-per-node=8 --time=04:00:00
# A closed Ray cluster for one job: sbatch slurm.sh. The home folder and DATADAM_CACHE are shared by the machines.
set -euo pipefail
umask 077
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_TOKEN_PATH=$HOME/.ray/job-$SLURM_JOB_ID DATADAM_CACHE=$HOME/datadam
mkdir -p "$HOME/.ray"
openssl rand -hex 32 > "$RAY_AUTH_TOKEN_PATH"
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address | cut -d' ' -f1):6379
srun --overlap --nodes=1 --ntasks=1 -w "$head" ray start --head --port=6379 --node-ip-address="${address%:*}" --block &
sleep 20
srun --overlap --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) -x "$head" ray start --address="$address" --block &
sleep 20
run=runs/imagenet-ipc50
# --take-over: this job is the only one that works on the run; where an earlier one was killed, its lock names another node
if [ -e "$run/checkpoint/run.json" ]; then  # submitted again after the time limit: go on
  datadam distill --resume "$run" --take-over --engine ray --address "$address" --gpus-per-worker 1
else
  datadam distill /data/imagenet --size 64 --ipc 50 --device cuda --engine ray --address "$address" --gpus-per-worker 1 --take-over \
    --out "$run"
fi
