"""Features are measured once for each file, anew for what is in memory, and as the recipe asks."""

import time
from pathlib import Path

import numpy as np
import pytest

from classification.classical import columns
from classification.classical.columns import Measure, Store, matrix
from classification.classical.deep import N_FEATURES, open_extractor
from classification.features import compute
from classification.pictures import Pictures
from classification.recipes import Classical
from smear.errors import ModelError, TrainingError
from smear.images import write_image


def measure(*features: str, imgsz: int | None = 20, **content: object) -> Measure:
    recipe = Classical.model_validate({"features": features, "model": {"name": "knn"}, **content})
    return Measure.of(recipe, imgsz=imgsz, weights="none")


def noise(n: int = 4, side: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (n, side, side, 3), np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"c{i}.png" for i in range(4)]
    for path, picture in zip(paths, noise(), strict=True):
        write_image(path, picture)
    return paths


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crops were measured, a number each time."""
    seen: list[int] = []

    def spy(crops: np.ndarray, families: tuple[str, ...], **options: int) -> object:
        seen.append(len(crops))
        return compute(crops, families, **options)

    monkeypatch.setattr(columns, "compute", spy)
    return seen


def test_a_file_is_measured_once_whatever_fold_it_is_in(files: list[Path], measured: list[int]) -> None:
    store, wanted, pictures = Store(), measure("dft"), Pictures.of_files(files)
    whole, seconds = store.get(pictures, wanted)
    part, again = store.get(pictures.part(np.array([3, 1])), wanted)
    np.testing.assert_array_equal(part, whole[[3, 1]])
    np.testing.assert_array_equal(whole, compute(noise(), ("dft",)).values)
    assert measured == [4]
    assert again == pytest.approx(seconds / 2)  # what it took, though it was not done again


def test_other_content_size_or_families_are_measured_anew(files: list[Path], measured: list[int]) -> None:
    store, pictures = Store(), Pictures.of_files(files)
    store.get(pictures, measure("dft"))
    store.get(pictures, measure("dft", imgsz=16))
    store.get(pictures, measure("dft", grey=True))
    store.get(pictures, measure("histogram"))
    assert measured == [4, 4, 4, 4]
    write_image(files[2], noise(1, seed=9)[0])
    store.get(pictures, measure("dft"))
    assert measured[4:] == [1]


def test_what_is_in_memory_is_measured_each_time(measured: list[int]) -> None:
    """So that the time of labelling a crop is an honest one."""
    store = Store()
    for _ in range(2):
        store.get(Pictures.of(noise()), measure("dft"))
    assert measured == [4, 4]


def test_the_store_lets_go_of_the_oldest(files: list[Path], measured: list[int]) -> None:
    store, wanted, pictures = Store(most_bytes=2 * 148 * 4), measure("dft"), Pictures.of_files(files)
    first, _ = store.get(pictures, wanted)
    second, _ = store.get(pictures, wanted)
    np.testing.assert_allclose(first, second, rtol=1e-4)  # two at a time instead of four
    assert measured == [4, 2]


def test_the_deadline_keeps_what_was_measured(files: list[Path], measured: list[int]) -> None:
    store, wanted, pictures = Store(), measure("dft"), Pictures.of_files(files)
    store.get(pictures.part(np.array([0])), wanted)
    with pytest.raises(TrainingError, match="1 of 4 crops were measured"):
        store.get(pictures, wanted, deadline=time.monotonic() - 1)
    assert measured == [1]


def test_nothing_to_measure_keeps_the_columns() -> None:
    values, seconds = Store().get(Pictures.of(noise(0)), measure("dft", "histogram"))
    assert values.shape == (0, 148 + 80)
    assert seconds == 0


def test_grey_and_blur_are_done_before_measuring() -> None:
    grey = measure("raw_pixels", grey=True)(noise(), device="cpu").reshape(4, -1, 3)
    assert (grey[..., 0] == grey[..., 1]).all()
    plain, blurred = (measure("raw_pixels", blur=blur)(noise(), device="cpu") for blur in (0, 3))
    assert blurred.std() < 0.8 * plain.std()


def test_a_flag_says_what_is_missing_where_something_can_be() -> None:
    wanted = measure("nucleus_shape", "histogram")
    values = wanted(np.full((2, 20, 20, 3), 230, np.uint8), device="cpu")
    wide = matrix(values, flag=wanted.may_miss)
    assert wide.shape == (2, values.shape[1] + 1)
    assert (wide[:, -1] == 1).all()
    assert not measure("histogram", "raw_pixels").may_miss
    assert matrix(values, flag=False).shape == values.shape


def test_deep_features_are_the_mean_of_the_last_map_and_no_training_changes_them() -> None:
    import torch

    torch.manual_seed(5)
    wanted = measure("deep_resnet50", "histogram")
    assert wanted.size == 32  # ResNet50 leaves nothing of less
    crops = noise(side=32)
    values = wanted(crops, device="cpu")
    assert values.shape == (4, 80 + N_FEATURES) == (4, len(wanted.names))
    network = wanted.extractor.network
    tensor = torch.from_numpy(crops.transpose(0, 3, 1, 2)).float() / 255
    tensor = (tensor - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.inference_mode():
        plain = network.features(tensor).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(values[:, 80:], plain, rtol=1e-3, atol=1e-4)
    assert open_extractor("none").digest == wanted.extractor.digest


def test_weights_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "resnet50.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        open_extractor(str(tmp_path))
