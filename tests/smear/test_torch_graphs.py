"""Recordings of a network, by shape; recording itself needs CUDA, what decides about it does not."""

import pytest
import torch

from smear.runtimes.torch_graphs import Recording, Recordings, padded_length


def double(images: torch.Tensor) -> list[torch.Tensor]:
    return [images * 2, images.sum(dim=1)]


class Recorder:
    """Records as a graph would: fixed buffers that `replay` works on."""

    def __init__(self) -> None:
        self.made: list[tuple[int, ...]] = []

    def __call__(self, example: torch.Tensor) -> Recording:
        self.made.append(tuple(example.shape))
        images = torch.full_like(example, float("nan"))
        outputs = tuple(torch.empty_like(out) for out in double(example))

        def replay() -> None:
            for out, new in zip(outputs, double(images), strict=True):
                out.copy_(new)

        return Recording(images, outputs, replay)


def images(n: int, side: int = 3) -> torch.Tensor:
    return torch.arange(n * side, dtype=torch.float32).reshape(n, side)


def test_recorded_or_not_the_answers_are_the_same() -> None:
    recordings = Recordings(double, Recorder())
    for n in (1, 3, 4, 3, 3, 5, 8, 2, 70, 70, 65, 128):
        found = recordings(images(n))
        for a, b in zip(found, double(images(n)), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_a_shape_is_recorded_when_it_comes_again_and_batches_are_padded_to_few_shapes() -> None:
    recorder = Recorder()
    recordings = Recordings(double, recorder)
    recordings(images(3))
    assert recorder.made == []
    for n in (3, 4, 3, 4):
        recordings(images(n))
    assert recorder.made == [(4, 3)]


def test_the_recording_not_used_for_longest_leaves() -> None:
    recorder = Recorder()
    recordings = Recordings(double, recorder, most=2)
    for side in (1, 1, 2, 2, 1, 3, 3, 1):
        recordings(images(1, side))
    assert len(recordings) == 2
    assert recorder.made == [(1, 1), (1, 2), (1, 3)]  # 1 was used again before 3 came, so 2 left
    recordings(images(1, 2))
    assert recorder.made[-1] == (1, 2)


def test_a_network_that_cannot_be_recorded_runs_plainly() -> None:
    tries = []

    def refuse(example: torch.Tensor) -> Recording:
        tries.append(example.shape)
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    recordings = Recordings(double, refuse)
    for _ in range(4):
        torch.testing.assert_close(recordings(images(2))[0], images(2) * 2)
    assert len(tries) == 1
    assert recordings.refused == "operation not permitted when stream is capturing"


@pytest.mark.parametrize(("n", "padded"), [(1, 1), (2, 2), (3, 4), (33, 64), (64, 64), (65, 128), (130, 192)])
def test_batches_are_padded_to_powers_of_two_and_then_to_64s(n: int, padded: int) -> None:
    assert padded_length(n) == padded
