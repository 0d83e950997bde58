from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from classification.networks import build, load_weights
from smear.errors import ConfigError, ModelError


@pytest.mark.parametrize(("head", "n_logits"), [("leukodetect", 1), ("compact_net", 2)])
@pytest.mark.parametrize("front", ["none", "grey", "standard"])
def test_a_head_gives_its_number_of_logits_at_any_size(head: str, n_logits: int, front: str) -> None:
    network = build("tiny", head, 2, front=front).eval()
    for side in (64, 80, 97):
        assert network(torch.rand(3, 3, side, side)).shape == (3, n_logits)
    assert network(torch.rand(0, 3, 64, 64)).shape == (0, n_logits)


@pytest.mark.parametrize(("architecture", "head"), [("densenet121", "leukodetect"), ("efficientnet_b3", "compact_net")])
def test_the_backbones_of_the_papers_take_64_pixels(architecture: str, head: str) -> None:
    network = build(architecture, head, 2).eval()
    with torch.inference_mode():
        assert torch.isfinite(network(torch.rand(1, 3, 64, 64))).all()


def test_densenet_features_are_those_that_torchvision_classifies() -> None:
    theirs = torchvision.models.densenet121(weights=None).eval()
    ours = build("densenet121", "leukodetect", 2).eval()
    ours.features.load_state_dict(theirs.features.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs.classifier(ours.features(x).mean(dim=(2, 3)))
        torch.testing.assert_close(theirs(x), expected)


def test_the_grey_front_cannot_see_colour_and_the_standard_front_no_cast() -> None:
    x = torch.rand(2, 3, 64, 64) * 0.5 + 0.1
    grey, standard = build("tiny", "leukodetect", 2, front="grey").eval(), build("tiny", "leukodetect", 2, front="standard").eval()
    torch.testing.assert_close(grey(x), grey(x[:, [2, 0, 1]]))
    cast = x * torch.tensor([1.5, 0.8, 1.2]).view(1, 3, 1, 1)
    assert (standard.front(cast) - standard.front(x)).abs().max() < 0.5 * (cast - x).abs().max() / x.std()


@pytest.mark.parametrize(
    ("names", "said"),
    [(("densenet12", "leukodetect"), "model: must be one of densenet121"), (("tiny", "leuko"), "head: must be one of leukodetect")],
)
def test_an_unknown_name_is_answered_with_the_known_ones(names: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(*names, 2)


def test_one_logit_cannot_tell_three_classes() -> None:
    with pytest.raises(ConfigError, match="needs two classes, got 3"):
        build("tiny", "leukodetect", 3)


def test_features_are_loaded_and_a_head_of_another_shape_stays_random(tmp_path: Path) -> None:
    source, network = build("tiny", "compact_net", 4), build("tiny", "compact_net", 2)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    left = load_weights(network, str(tmp_path / "w.safetensors"), architecture="tiny")
    assert set(left) == {name for name in network.state_dict() if name.startswith("head.")}
    assert all(torch.equal(network.state_dict()[n], source.state_dict()[n]) for n in source.state_dict() if n.startswith("features."))


def test_features_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    state = build("tiny", "leukodetect", 2).state_dict()
    save_file({**state, "features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"features\.0\.weight must be \[8, 3, 3, 3\], got \[4, 3, 3, 3\]"):
        load_weights(build("tiny", "leukodetect", 2), str(tmp_path / "w.safetensors"), architecture="tiny")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pt", b"PK\x03\x04", "can run code"),
        ("w.safetensors", b"\x80\x04junk", "not a readable safetensors"),
        ("w.safetensors", None, "no such file"),
    ],
)
def test_weights_that_cannot_be_read_are_one_clear_error(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load_weights(build("tiny", "leukodetect", 2), str(tmp_path / name), architecture="tiny")


def test_published_weights_offline_are_an_error_and_never_random_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **options: object) -> None:
        raise URLError("offline")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", offline)
    with pytest.raises(ModelError, match="cannot download DenseNet121_Weights"):
        load_weights(build("densenet121", "leukodetect", 2), "imagenet", architecture="densenet121")
    with pytest.raises(ModelError, match="no published weights of 'tiny'"):
        load_weights(build("tiny", "leukodetect", 2), "imagenet", architecture="tiny")
