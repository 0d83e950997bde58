"""In what order a training sees its fields, with which random numbers, and who prepares them; the same whoever does."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from smear.line import n_cores

CORES_A_WORKER = 8  # of a CPU that trains: one core prepares about as fast as eight learn
MOST_WORKERS = 16


class Order(Sampler[int]):
    """n fields, shuffled anew in each epoch; a number tells both: `epoch, index = divmod(number, n)`."""

    def __init__(self, n: int, *, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def __iter__(self) -> Iterator[int]:
        """The numbers of `epoch`; the next pass is that of the next epoch."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        yield from (epoch * self.n + np.random.default_rng((self.seed, epoch)).permutation(self.n)).tolist()

    def __len__(self) -> int:
        return self.n


def seed_everything(seed: tuple[int, ...] | None, transforms: Sequence[Any]) -> None:
    """Begin the random numbers of one field anew: those of Python and NumPy, which ultralytics draws from, and of each transform.

    One seed for all transforms would make them happen together: the first number of each decides whether it is applied.
    None: only the transforms, with numbers of NumPy, which ultralytics seeds in each worker.
    """
    if seed is None:
        own = np.random.randint(2**31, size=len(transforms)).tolist()  # noqa: NPY002  (the generator that ultralytics draws from)
    else:
        first, second, *own = np.random.SeedSequence(seed).generate_state(2 + len(transforms)).tolist()
        random.seed(first)
        np.random.seed(second)  # noqa: NPY002
    for transform, its in zip(transforms, own, strict=True):
        transform.set_random_seed(its)


def choose_workers(wanted: int | str, device: str) -> int:
    """ "auto": one worker for each 8 cores of a CPU that trains, at least one; beside a GPU a core each but one; at most 16."""
    if wanted != "auto":
        return int(wanted)
    return max(1, min(MOST_WORKERS, n_cores() // CORES_A_WORKER if device == "cpu" else n_cores() - 1))
