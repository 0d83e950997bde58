from pathlib import Path

import numpy as np
import pytest
import yaml

from classification.augment import FROM_ALBUMENTATIONS, OURS, build_augmentation, generator
from smear.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ("configs/papers/leukodetect/leukodetect.yaml", "configs/papers/compact_net/compact_net.yaml")
CONFIGS = ["configs/classify.yaml", *PAPERS]


def picture(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def steps_of(config: str) -> list[dict]:
    content = yaml.safe_load((ROOT / config).read_text())
    return content.get("network", content)["augment"]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_keeps_the_form_of_a_crop(config: str) -> None:
    augment = build_augmentation(steps_of(config))
    for index in range(20):
        out = augment(generator(0, 1, index), picture(index))
        assert out.shape == (64, 64, 3)
        assert out.dtype == np.uint8


@pytest.mark.parametrize("config", CONFIGS)
def test_a_picture_depends_on_seed_epoch_and_index_alone(config: str) -> None:
    first, second = build_augmentation(steps_of(config)), build_augmentation(steps_of(config))
    forwards = [first(generator(3, 1, i), picture(i)) for i in range(12)]
    backwards = [second(generator(3, 1, i), picture(i)) for i in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    other = [second(generator(3, 2, i), picture(i)) for i in range(12)]
    assert not np.array_equal(forwards, other)


@pytest.mark.parametrize("name", sorted({*OURS, *FROM_ALBUMENTATIONS} - {"RandomCrop", "Resize", "RandomResizedCrop"}))
def test_every_step_that_can_be_named_runs_and_leaves_its_input_alone(name: str) -> None:
    image = picture()
    before = image.copy()
    build_augmentation([{"name": name}])(generator(0, 0, 0), image)
    np.testing.assert_array_equal(image, before)


def test_no_step_is_no_change() -> None:
    np.testing.assert_array_equal(build_augmentation([])(generator(0, 0, 0), picture()), picture())
    np.testing.assert_array_equal(build_augmentation([{"name": "grey", "p": 0}])(generator(0, 0, 0), picture()), picture())


def test_a_choice_takes_one_step() -> None:
    augment = build_augmentation([{"one_of": [{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}], "p": 1.0}])
    image = picture()
    seen = {augment(generator(0, 0, i), image).tobytes() for i in range(20)}
    assert seen == {image[:, ::-1].tobytes(), image[::-1].tobytes()}


def test_a_crop_comes_back_at_the_size_it_had() -> None:
    assert build_augmentation([{"name": "RandomCrop", "height": 40, "width": 40}])(generator(0, 0, 0), picture()).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"name": "Blurr"}, r"augment\[0\]: name: must be one of"),
        ({"p": 0.5}, "got None"),
        ({"name": "move", "zoom": 3}, r"augment\[0\]: move: .*'zoom'"),
        ({"name": "Rotate", "limt": 3}, r"augment\[0\]: Rotate: .*limt"),
        ({"name": "grey", "p": 2}, "p: must be a number"),
        ({"one_of": []}, "one_of takes a list"),
        ({"one_of": [{"name": "oops"}]}, r"augment\[0\]\.one_of\[0\]"),
    ],
)
def test_a_mistake_in_the_list_is_named(step: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_augmentation([step])
