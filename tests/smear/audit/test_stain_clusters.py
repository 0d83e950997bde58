"""Stain features and clusters, on fields painted in two dyes."""

import cv2
import numpy as np
import pytest

from smear.audit.stain import FEATURES, alignment, stain_clusters, stain_features, standardise

PURPLE, BLUE = (130, 60, 160), (60, 90, 190)


def field(nucleus: tuple[int, int, int], *, seed: int = 0, light: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((160, 160, 3), (245, 240, 248), np.uint8)
    for _ in range(12):
        x, y = (int(v) for v in rng.integers(10, 150, 2))
        cv2.circle(image, (x, y), 8, (215, 170, 180), -1)
    for _ in range(4):
        x, y = (int(v) for v in rng.integers(20, 140, 2))
        cv2.circle(image, (x, y), 14, nucleus, -1)
    noisy = image * light + rng.normal(0, 2, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def test_the_three_parts_are_told_apart_by_brightness() -> None:
    values = dict(zip(FEATURES, stain_features(field(PURPLE)), strict=True))
    assert values["background_L"] > values["red_cells_L"] > values["nuclei_L"]


def test_the_nuclei_have_the_colour_they_were_painted_in() -> None:
    values = dict(zip(FEATURES, stain_features(field(BLUE)), strict=True))
    painted = cv2.cvtColor(np.array([[BLUE]], np.uint8), cv2.COLOR_RGB2LAB)[0, 0]
    assert [values[f"nuclei_{c}"] for c in "Lab"] == pytest.approx(painted, abs=4)


def test_dye_directions_are_unit_vectors_that_ignore_exposure() -> None:
    bright, dark = stain_features(field(PURPLE)), stain_features(field(PURPLE, light=0.9))
    first = FEATURES.index("dye1_r")
    assert np.linalg.norm(bright[first:].reshape(2, 3), axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert np.abs(bright[first:] - dark[first:]).max() < 0.25


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_field_of_one_colour_has_finite_features(level: int) -> None:
    features = stain_features(np.full((50, 40, 3), level, np.uint8))
    assert features.shape == (len(FEATURES),)
    assert np.isfinite(features).all()


def test_standardised_columns_have_mean_0_and_deviation_1_and_constant_ones_are_0() -> None:
    values = np.array([[1, 5, 3], [2, 5, 9], [6, 5, 0]], np.float32)
    done = standardise(values)
    assert done.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert done.std(axis=0) == pytest.approx([1, 0, 1], abs=1e-5)


def test_clusters_find_the_two_stains_and_number_the_larger_0() -> None:
    features = np.stack([stain_features(field(PURPLE if i % 3 else BLUE, seed=i)) for i in range(12)])
    found = stain_clusters(features, n_clusters=2, seed=3)
    assert found.tolist() == [0 if i % 3 else 1 for i in range(12)]
    assert np.array_equal(found, stain_clusters(features, n_clusters=2, seed=3))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_fields_than_clusters_give_one_cluster_each(n: int) -> None:
    assert stain_clusters(np.zeros((n, 4), np.float32), n_clusters=2).tolist() == list(range(n))


def test_alignment_is_1_for_equal_and_about_0_for_unrelated_labels() -> None:
    labels = list("aabbcc") * 20
    shuffled = list(np.random.default_rng(0).permutation(labels))
    assert alignment(labels, [x.upper() for x in labels]) == pytest.approx(1)
    assert abs(alignment(labels, shuffled)) < 0.05
