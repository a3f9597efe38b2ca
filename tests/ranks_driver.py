"""`sepico_pl.train` with its gradient exchanges counted, or with something missing (SABOTAGE).

A script, so that Lightning starts the other ranks by it too.
"""

import os
from pathlib import Path

import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy

import sepico_pl.ranks


def count_exchanges(folder: Path) -> None:
    """Let every data-parallel network write a line per exchange of all its gradients."""
    original = DDPStrategy.configure_ddp

    def counted(strategy: DDPStrategy) -> None:
        original(strategy)
        log = (folder / f"exchanges_{strategy.global_rank}").open("w", buffering=1)

        def exchange(_: object, bucket: dist.GradBucket):
            if bucket.is_last():
                log.write("x\n")
            averaged = bucket.buffer() / dist.get_world_size()
            work = dist.all_reduce(averaged, async_op=True)
            return work.get_future().then(lambda done: done.value()[0])

        strategy.model.register_comm_hook(None, exchange)

    DDPStrategy.configure_ddp = counted


if __name__ == "__main__":
    count_exchanges(Path(os.environ["EXCHANGES"]))
    missing = os.environ.get("SABOTAGE")
    if missing is not None:
        setattr(sepico_pl.ranks, missing, lambda values: values)
    from sepico_pl.train import main

    main()
