"""Augmentations by name from the configuration."""

import numpy as np
import pytest

from detection.augment import StainJitter, build_augmentations
from smear.config import load
from smear.errors import ConfigError


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)


def test_they_come_in_the_order_asked_for():
    names = [type(t).__name__ for t in build_augmentations([{"name": "ToGray", "p": 1}, {"name": "StainJitter"}, {"name": "GaussianBlur"}])]
    assert names == ["ToGray", "StainJitter", "GaussianBlur"]
    assert build_augmentations([]) == []


def test_the_configuration_is_not_changed_by_reading_it():
    wanted = [{"name": "StainJitter", "p": 1}]
    build_augmentations(wanted)
    assert wanted == [{"name": "StainJitter", "p": 1}]


@pytest.mark.parametrize("entry", [{}, {"name": "Blurr"}, {"name": "os"}, {"name": None}, {"name": "Compose"}, {"name": "__name__"}])
def test_a_name_that_is_no_transform_is_named(entry):
    with pytest.raises(ConfigError, match=r"augment\.image: .*no such transform"):
        build_augmentations([entry])


@pytest.mark.parametrize(
    "entry", [{"name": "StainJitter", "mixing": 1}, {"name": "GaussianBlur", "blur_limit": "much"}, {"name": "ToGray", "sigma": 1}]
)
def test_an_argument_that_it_does_not_take_is_named(entry):
    with pytest.raises(ConfigError, match=f"augment.image: {entry['name']}: ") as error:
        build_augmentations([entry])
    assert "\n" not in str(error.value)


class TestStainJitter:
    def jitter(self, seed: int = 0, **how):
        made = StainJitter(p=1, **how)
        made.set_random_seed(seed)
        return made

    def test_without_strength_it_changes_nothing_but_the_rounding(self):
        same = self.jitter(mix=0, gain=0, white=0)(image=picture())["image"]
        assert np.abs(same.astype(int) - picture()).max() <= 1

    def test_the_same_seed_gives_the_same_picture_and_another_another(self):
        first, again, other = (self.jitter(seed)(image=picture())["image"] for seed in (3, 3, 4))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_it_keeps_shape_and_type_and_its_argument(self):
        image = picture()
        before = image.copy()
        out = self.jitter()(image=image)["image"]
        assert (out.shape, out.dtype) == (image.shape, np.uint8)
        np.testing.assert_array_equal(image, before)

    def test_empty_glass_stays_bright(self):
        glass = np.full((8, 8, 3), 250, np.uint8)
        assert min(self.jitter(seed, white=0)(image=glass)["image"].min() for seed in range(20)) > 200

    def test_it_is_what_the_formula_says(self):
        matrix = np.array([[1.1, 0.1, 0], [0, 0.9, 0.2], [0.05, 0, 1.2]], np.float32)
        white = np.array([0.9, 1.0, 1.1], np.float32)
        density = -np.log((picture().astype(np.float64) + 1) / 256)
        expected = np.clip(255 * white * np.exp(-(density @ matrix)), 0, 255)
        found = StainJitter().apply(picture(), matrix=matrix, white=white)
        assert np.abs(found - expected).max() <= 1

    def test_a_saved_run_can_make_it_again(self):
        """ultralytics keeps augmentations in its checkpoints as dictionaries, and makes them again when a run is resumed."""
        import albumentations as A

        saved = A.to_dict(StainJitter(mix=0.3, gain=0.1, white=0.05, p=0.4))
        again = A.from_dict(saved)
        assert (again.mix, again.gain, again.white, again.p) == (0.3, 0.1, 0.05, 0.4)


PAPERS = ["papers/compact_net/detectors/yolov5x6.yaml", "papers/compact_net/detectors/yolov8x.yaml"]


@pytest.mark.parametrize("name", ["detect.yaml", "smoke/detect.yaml", *PAPERS])
def test_every_shipped_recipe_can_be_built(name):
    from pathlib import Path

    from detection.settings import DetectSettings

    settings = load(Path(__file__).resolve().parents[2] / "configs" / name, DetectSettings)
    for transform in build_augmentations(settings.augment.image):
        transform.set_random_seed(0)
        transform.p = 1
        out = transform(image=np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))["image"]
        assert out.dtype == np.uint8
        assert out.shape[2] == 3
