"""How a script starts torchtune: one process, several on a node, or several on each of several nodes. Pure.

`tune run` passes its options to torchrun. On one node it makes torchrun meet at a free port of its own choice, so
that two jobs beside each other do not collide. On several nodes srun starts one launcher a node.
"""

from collections.abc import Iterator

from tuneloop.documents.shell import quote
from tuneloop.experiment.work import Shape
from tuneloop.workers.torchtune.settings import Resolved

# Ports for launchers to meet at, by the job's id: below those that Linux hands out by itself (from 32768), above
# those of most services. Jobs that share a node have ids near each other.
_FIRST_PORT, _PORTS = 30_000, 2_500


def by_hand(resolved: Resolved) -> str:
    """Return how a person starts the training from the run's folder."""
    if resolved["nodes"] > 1:
        return "sbatch finetune.slurm"
    return f"{_tune(resolved)} --config finetune.yaml"


def training(resolved: Resolved, shape: Shape) -> Iterator[str]:
    """Yield the shell lines that train, with the attempt's overrides."""
    rest = '--config finetune.yaml "${overrides[@]}"'
    if shape.nodes == 1:
        yield f"{_tune(resolved)} {rest}"
        return
    yield "# One launcher a node; all meet at this one."
    # srun takes neither the job's CPUs a task nor, where sbatch was told less, its environment without being told.
    yield f"srun --nodes={shape.nodes} --ntasks-per-node=1 --cpus-per-task={shape.cpus} --export=ALL \\"
    # When one launcher fails, the others would wait for it, and its own workers would go on.
    yield "  --kill-on-bad-exit=1 python -m tuneloop.jobs.orphans \\"
    yield f"  tune run --nnodes {shape.nodes} --nproc_per_node {resolved['devices']} \\"
    # An id that no other attempt has: what survived on a lost node cannot join its successor. The host is this one by
    # its own name, which torchrun compares to find out who serves.
    yield '  --rdzv_id "$SLURM_JOB_ID.${TUNELOOP_ATTEMPT##*/}" --rdzv_backend c10d \\'
    yield f'  --rdzv_endpoint "$(hostname):$(({_FIRST_PORT} + SLURM_JOB_ID % {_PORTS}))" \\'
    yield f"  {quote(resolved.recipe.name)} {rest}"


def _tune(resolved: Resolved) -> str:
    several = f"--nproc_per_node {resolved['devices']} " if resolved.recipe.distributed else ""
    return f"tune run {several}{quote(resolved.recipe.name)}"
