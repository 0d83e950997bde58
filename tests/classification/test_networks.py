import sys
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from classification.networks import HEADS, build, build_blank, check_input, load_weights
from classification.networks.backbones import BACKBONES
from classification.networks.fronts import GreyMedianFront
from smear.errors import ConfigError, MissingExtra, ModelError


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("front", ["none", "grey", "standard", "grey_median"])
def test_a_head_gives_its_number_of_logits_at_any_size(head: str, front: str) -> None:
    network, n_logits = build("tiny", head, 2, front=front).eval(), 1 if HEADS[head].kind == "sigmoid" else 2
    for side in (64, 80, 97):
        assert network(torch.rand(3, 3, side, side)).shape == (3, n_logits)
    assert network(torch.rand(0, 3, 64, 64)).shape == (0, n_logits)


@pytest.mark.parametrize("architecture", BACKBONES)
def test_a_backbone_gives_its_channels_from_its_smallest_input_on(architecture: str) -> None:
    network, backbone = build(architecture, "plain", 2).eval(), BACKBONES[architecture]
    for side in (backbone.min_px, 64):
        check_input(architecture, side)
        with torch.inference_mode():
            features = network.features(torch.rand(1, 3, side, side))
        assert features.shape[1] == backbone.channels
        assert min(features.shape[2:]) >= 1
        assert torch.isfinite(features).all()
    with pytest.raises(ConfigError, match=f"imgsz: must be at least {backbone.min_px}"):
        check_input(architecture, backbone.min_px - 1)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v2", "alexnet", "efficientnet_b0"])
def test_features_are_those_that_torchvision_classifies(architecture: str) -> None:
    """Its own weights go in under its own names, and what comes out is what its classifier would see."""
    theirs, ours = torchvision.models.get_model(architecture, weights=None).eval(), build(architecture, "plain", 2).eval()
    ours.features.load_state_dict({n.removeprefix("features."): v for n, v in theirs.state_dict().items()}, strict=False)
    seen = []
    pool = theirs.avgpool if hasattr(theirs, "avgpool") else theirs.classifier
    pool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        theirs(x)
        features = ours.features(x)
    torch.testing.assert_close(features if seen[0].ndim == 4 else features.mean(dim=(2, 3)), seen[0])


@pytest.mark.parametrize("architecture", BACKBONES)
def test_a_blank_network_is_filled_to_be_the_same_and_draws_nothing(architecture: str) -> None:
    """Batch counters and what else is no weight are there too; the generator has not moved."""
    drawn = build(architecture, "leukodetect", 2, front="grey").eval()
    before = torch.random.get_rng_state()
    blank = build_blank(architecture, "leukodetect", 2, front="grey").eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    blank.load_state_dict({n: t for n, t in drawn.state_dict().items() if not n.endswith("num_batches_tracked")}, strict=False)
    assert all(torch.equal(tensor, blank.state_dict()[name]) for name, tensor in drawn.state_dict().items())
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(blank(x), drawn(x))


def test_vgg_is_torchvisions_without_its_dense_layers() -> None:
    theirs = torchvision.models.vgg16(weights=None, num_classes=2)
    ours = build("vgg16", "plain", 2)
    assert [str(layer) for layer in ours.features] == [str(layer) for layer in theirs.features]
    for one, two in zip(ours.features.parameters(), theirs.features.parameters(), strict=True):
        assert one.shape == two.shape
        assert one.std().item() == pytest.approx(two.std().item(), rel=0.1, abs=1e-6)


def test_xception_is_the_one_of_its_author() -> None:
    """22.9 million parameters with 1000 classes (Chollet, CVPR 2017, table 3), and timm's own features."""
    import timm

    theirs, ours = timm.create_model("legacy_xception", pretrained=False).eval(), build("xception", "plain", 1000).eval()
    assert sum(parameter.numel() for parameter in ours.parameters()) == 22_855_952
    ours.features.load_state_dict(theirs.state_dict(), strict=False)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.features(x), theirs.forward_features(x))


def test_the_cnn_of_the_modified_paper_has_its_layers() -> None:
    network = build("modified_cnn", "modified_cnn", 4, front="grey_median")
    weights = [tuple(parameter.shape) for parameter in network.parameters() if parameter.ndim > 1]
    assert weights == [(32, 3, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3), (128, 1024), (128, 128), (4, 128)]
    assert network.features(torch.rand(1, 3, 50, 50)).shape == (1, 64, 4, 4)


def test_the_head_of_the_resnet50_paper_has_its_numbers() -> None:
    head = build("resnet18", "resnet50_cnn", 2).head
    (norm,) = [layer for layer in head if isinstance(layer, torch.nn.BatchNorm1d)]
    assert (norm.eps, norm.momentum) == (1e-3, pytest.approx(0.01))
    x = torch.rand(4, 512, 3, 3)
    torch.testing.assert_close(head[1](head[0](x)), x.amax(dim=(2, 3)))
    assert [tuple(layer.weight.shape) for layer in head if isinstance(layer, torch.nn.Linear)] == [(256, 512), (2, 256)]


def test_the_median_front_is_opencvs_grey_and_median() -> None:
    """Within a grey level: OpenCV rounds to one after each of the two."""
    crops = np.random.default_rng(0).integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    expected = np.stack([cv2.medianBlur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), 3) for crop in crops])
    found = GreyMedianFront()(torch.from_numpy(crops).float().permute(0, 3, 1, 2))
    assert found.shape == (2, 3, 20, 24)
    for channel in range(3):
        np.testing.assert_allclose(found[:, channel], expected, atol=0.51)


def test_resting_blocks_keep_weights_and_batch_statistics() -> None:
    network = build("resnet18", "plain", 2)
    network.rest_all_but(1)
    network.train()
    learning = {name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad and name.startswith("features.")}
    assert learning == {"layer4"}
    assert not network.features.layer1.training
    assert network.features.layer4.training
    before = network.features.bn1.running_mean.clone()
    network(torch.rand(2, 3, 32, 32))
    assert torch.equal(network.features.bn1.running_mean, before)
    network.rest_all_but(99)
    assert network.features.layer1.training
    assert all(parameter.requires_grad for parameter in network.parameters())


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


def test_timms_published_weights_offline_are_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm.models._builder

    def offline(*args: object, check_hash: bool, weights_only: bool, **options: object) -> None:
        assert check_hash
        assert weights_only
        raise URLError("offline")

    monkeypatch.setattr(timm.models._builder, "load_state_dict_from_url", offline)
    with pytest.raises(ModelError, match="cannot download timm/legacy_xception"):
        load_weights(build("xception", "plain", 2), "imagenet", architecture="xception")


def test_without_timm_its_network_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"the network 'legacy_xception' needs the package 'timm'.*leukofield\[papers\]"):
        build("xception", "plain", 2)
