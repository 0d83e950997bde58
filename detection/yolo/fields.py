"""The fields of a training: at their own scale, in memory where they fit, in batches that do not depend on who prepares them."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from ultralytics.data.build import InfiniteDataLoader
from ultralytics.data.dataset import YOLODataset

from detection.order import Order, seed_everything
from smear.line import ahead, n_cores
from smear.watch import Watch


class FieldDataset(YOLODataset):
    """Fields as they come (`data.yaml` has `rbc_px`: they are at the detector's scale) or with their longer side resized to `imgsz`."""

    seed = 0
    is_ordered = False  # whether it is asked by the numbers of an `Order`; else by index, as in validation and with several GPUs

    def __getitem__(self, number: int) -> dict[str, Any]:
        if self.augment:
            ours = [compose for step in self.transforms.transforms if (compose := getattr(step, "transform", None)) is not None]
            for compose in ours:
                compose.seed = torch.initial_seed()  # else ultralytics would seed it, once a process and all transforms alike
            seed_everything((self.seed, number) if self.is_ordered else None, [one for compose in ours for one in compose.transforms])
        return super().__getitem__(number % len(self))

    def load_image(self, i: int, rect_mode: bool = True, resize_short: bool = False) -> tuple:
        if self.ims[i] is not None:  # a copy: some augmentations write into what they are given
            image, original_hw = self.ims[i].copy(), self.im_hw0[i]
        elif self.data.get("rbc_px") is None:
            return super().load_image(i, rect_mode, resize_short)
        else:
            image = cv2.imread(self.im_files[i])
            if image is None:
                raise FileNotFoundError(f"{self.im_files[i]}: not a readable image")
            original_hw = image.shape[:2]
            image = image if self.augment else _fit(image, self.imgsz)
        return image, original_hw, image.shape[:2]

    def keep(self, most_bytes: int | None) -> None:
        """Decode all fields into memory if they take no more than `most_bytes` together; else none is kept."""
        self.cache = "ram"  # what it means to ultralytics: nothing leaves memory, and mosaics take their partners from all fields
        decoded, n_bytes = [], 0
        for found in ahead(self.load_image, range(self.ni), threads=n_cores()):
            decoded.append(found)
            n_bytes += found[0].nbytes
            if most_bytes is not None and n_bytes > most_bytes:
                return
        self.im_hw0, self.im_hw = ([found[part] for found in decoded] for part in (1, 2))
        self.ims = self._ImageCache([found[0] for found in decoded])

    @property
    def is_kept(self) -> bool:
        return isinstance(self.ims, self._ImageCache)


class FieldLoader(InfiniteDataLoader):
    """Batches of a training set, the same ones whoever prepares them, with a watch on how long they are waited for.

    Beside a CPU one worker is a thread of this process; more, and all beside a GPU, are processes.
    """

    def __init__(self, dataset: FieldDataset, *, batch: int, workers: int, device: torch.device, epoch: Callable[[], int]) -> None:
        self.watch, self.order, self.epoch = Watch(), Order(len(dataset), seed=dataset.seed), epoch
        dataset.is_ordered = True
        self.n_threads = int(device.type == "cpu" and workers == 1)
        processes = 0 if self.n_threads else min(workers, -(-len(dataset) // batch))
        super().__init__(
            dataset,
            batch_size=min(batch, len(dataset)),
            sampler=self.order,
            num_workers=processes,
            prefetch_factor=4 if processes else None,
            pin_memory=device.type == "cuda",
            collate_fn=dataset.collate_fn,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.iterator is None:  # at the start, after a resumption, and once mosaics end: workers had looked ahead
            self.order.epoch = self.epoch()
        batches = super().__iter__()
        yield from self.watch.items(ahead(lambda _: next(batches), range(len(self)), threads=self.n_threads))


def _fit(image: np.ndarray, longest: int) -> np.ndarray:
    """Validation shows whole fields: one larger than the canvas is shrunk to it, a smaller one keeps its scale."""
    factor = longest / max(image.shape[:2])
    return image if factor >= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
