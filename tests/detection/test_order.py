"""The order of a training and its random numbers, and that batches do not depend on who prepares them."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from detection import order as module
from detection.order import Order, choose_workers, seed_everything


class Drawing:
    """A transform that draws a number."""

    def set_random_seed(self, seed: int) -> None:
        self.drawn = np.random.default_rng(seed).random()


def test_every_epoch_has_every_field_once_in_an_order_of_its_own():
    order = Order(50, seed=3)
    first, second = list(order), list(order)
    assert sorted(first) == list(range(50))
    assert sorted(second) == list(range(50, 100))
    assert [number - 50 for number in second] != first != list(Order(50, seed=4))


def test_an_order_goes_on_from_any_epoch():
    whole, late = Order(20, seed=0), Order(20, seed=0)
    passes = [list(whole) for _ in range(3)]
    late.epoch = 2
    assert list(late) == passes[2]
    assert len(late) == 20
    assert list(Order(0, seed=0)) == []


def test_the_random_numbers_of_a_field_are_its_own():
    def numbers(seed):
        transforms = [Drawing(), Drawing()]
        seed_everything(seed, transforms)
        return [random.random(), np.random.random(), *(t.drawn for t in transforms)]  # noqa: NPY002

    assert numbers((0, 7)) == numbers((0, 7))
    assert len(set(numbers((0, 7)) + numbers((0, 8)) + numbers((1, 7)))) == 12


def test_two_transforms_do_not_always_happen_together():
    """As they do when one seed serves all of them."""
    transforms = [Drawing(), Drawing()]
    happened = []
    for number in range(400):
        seed_everything((0, number), transforms)
        happened.append([t.drawn < 0.5 for t in transforms])
    one, two = np.array(happened).T
    assert np.mean(one & two) == pytest.approx(0.25, abs=0.07)


def test_without_a_number_only_the_transforms_are_seeded():
    np.random.seed(5)  # noqa: NPY002
    one, two = Drawing(), Drawing()
    state = random.getstate()
    seed_everything(None, [one, two])
    assert random.getstate() == state
    assert one.drawn != two.drawn


@pytest.mark.parametrize(("device", "cores", "expected"), [("cpu", 2, 1), ("cpu", 64, 8), ("cpu", 512, 16), ("0", 1, 1), ("0", 16, 15)])
def test_workers_follow_device_and_cores(monkeypatch, device, cores, expected):
    monkeypatch.setattr(module, "n_cores", lambda: cores)
    assert choose_workers("auto", device) == expected
    assert choose_workers(0, device) == 0


IMAGE_STEPS = [{"name": "StainJitter", "p": 0.5}, {"name": "GaussNoise", "p": 0.5}, {"name": "RandomRotate90", "p": 0.5}]


def loader(painted, *, workers, keep, native=False, start=0):
    """The training batches of the painted set as a run would make them."""
    from ultralytics.cfg import get_cfg

    from detection import yolo
    from detection.augment import build_augmentations
    from smear import annotations

    data = annotations.read_data_yaml(painted)
    about = {"names": dict(enumerate(data.classes)), "nc": 3, "channels": 3, **({"rbc_px": 24} if native else {})}
    arguments = {"imgsz": 64, "seed": 2, "augmentations": build_augmentations(IMAGE_STEPS), "cache": "ram" if keep else False}
    arguments |= {"degrees": 0, "translate": 0, "scale": 0, "mosaic": 0.5, "hsv_h": 0.5, "task": "detect", "mode": "train"}
    me = SimpleNamespace(args=get_cfg(overrides=arguments), data=about, cache_share=0.5, world_size=1)
    yolo.quiet()
    dataset = yolo.FieldTrainer.build_dataset(me, str(painted.parent / "images" / "train"), "train", 4)
    assert dataset.is_kept is keep
    return yolo.FieldLoader(dataset, batch=4, workers=workers, device=torch.device("cpu"), epoch=lambda: start)


def batches(of, n_epochs=2):
    return [[batch["img"].numpy().copy(), batch["bboxes"].numpy().copy(), batch["im_file"]] for _ in range(n_epochs) for batch in of]


def assert_same(one, two):
    assert len(one) == len(two) > 0
    for (image, box, file), (same_image, same_box, same_file) in zip(one, two, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(box, same_box)
        assert file == same_file


@pytest.mark.slow
@pytest.mark.parametrize("native", [False, True])
def test_batches_do_not_depend_on_workers_or_memory(painted, native):
    """In the loop, by a thread, by processes; kept in memory, or read again: bit for bit, and again after twenty passes of it."""
    plain = loader(painted, workers=0, keep=False, native=native)
    expected = batches(plain)
    assert_same(batches(loader(painted, workers=1, keep=True, native=native)), expected)
    assert_same(batches(loader(painted, workers=2, keep=False, native=native)), expected)
    kept = loader(painted, workers=0, keep=True, native=native)
    batches(kept, 20)
    kept.reset()  # as after mosaics have ended: from the epoch that the trainer says
    assert_same(batches(kept), expected)


@pytest.mark.slow
def test_epochs_differ_and_a_resumed_one_is_what_it_would_have_been(painted):
    whole = batches(loader(painted, workers=0, keep=True))
    half = len(whole) // 2
    assert not np.array_equal(whole[0][0], whole[half][0])
    assert_same(batches(loader(painted, workers=1, keep=True, start=1), 1), whole[half:])


@pytest.mark.slow
def test_a_set_that_does_not_fit_leaves_nothing_in_memory(painted):
    dataset = loader(painted, workers=0, keep=False).dataset
    one = dataset.load_image(0)[0].nbytes
    for most, kept in ((one, False), (one * len(dataset) - 1, False), (one * len(dataset), True)):
        dataset.keep(most)
        assert dataset.is_kept is kept
        if not kept:
            assert all(image is None for image in dataset.ims)
