#!/bin/bash
# One run on SLURM, over several GPUs and nodes, that goes on where it was after a preemption or a
# time limit:
#   sbatch --nodes=2 --gpus-per-node=4 --ntasks-per-node=4 scripts/slurm.sh experiment=gta_daformer_distribution
#SBATCH --job-name=sepico_pl
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Two minutes before the end every process is told; the run saves its step and is queued again. A
# validation under way is finished first: give longer ones more time.
#SBATCH --signal=USR1@120
set -euo pipefail
exec srun python -m sepico_pl.train \
    resume=auto hydra.run.dir="outputs/slurm/$SLURM_JOB_ID" \
    trainer.num_nodes="$SLURM_NNODES" trainer.devices="${SLURM_NTASKS_PER_NODE:-1}" \
    trainer.sync_batchnorm=true trainer.enable_progress_bar=false "$@"
