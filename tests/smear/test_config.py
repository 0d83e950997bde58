"""A configuration is read once, whole and strictly; each mistake is one line that names the key."""

from typing import Literal

import pytest
from pydantic import Field, ValidationError, field_validator

from smear.config import Settings, load
from smear.errors import ConfigError


class Training(Settings):
    epochs: int = Field(100, ge=1)
    lr: float = Field(1e-3, gt=0, lt=1)
    device: str | None = None
    freeze: tuple[int, ...] = ()

    @field_validator("device")
    @classmethod
    def _known(cls, value):
        if value == "toaster":
            raise ValueError("must be a device, not a toaster")
        return value


class Config(Settings):
    model: Literal["n", "s"] = "n"
    training: Training = Training()
    extra_training: Training | None = None
    weights: dict[str, float] = Field(default_factory=dict)


class Needs(Settings):
    data: str


def write(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_and_no_overrides_are_the_defaults():
    assert load(None, Config) == Config()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_the_defaults(tmp_path, text):
    assert load(write(tmp_path, text), Config) == Config()


def test_file_then_overrides_in_order(tmp_path):
    path = write(tmp_path, "model: s\ntraining:\n  epochs: 7\n  lr: 0.5\n")
    config = load(path, Config, ["training.epochs=8", "training.epochs = 9", "training.freeze=[1, 2]", "weights.ALL=2"])
    assert (config.model, config.training.epochs, config.training.lr) == ("s", 9, 0.5)
    assert (config.training.freeze, config.weights) == ((1, 2), {"ALL": 2.0})


def test_an_override_makes_its_group():
    assert load(None, Config, ["extra_training.epochs=3"]).extra_training == Training(epochs=3)


def test_exponents_without_a_dot_are_numbers():
    """YAML 1.1 reads 1e-4 as text, which users write all the time."""
    assert load(None, Config, ["training.lr=1e-4"]).training.lr == 1e-4


def test_values_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError):
        load(None, Config).model = "s"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: s", "modle: unknown key; did you mean 'model'?"),
        ("training: {epoch: 3}", "training.epoch: unknown key; did you mean 'training.epochs'?"),
        ("epochs: 3", "epochs: unknown key; did you mean 'training.epochs'?"),
        ("xyzzy: 3", "xyzzy: unknown key; known keys: model, training, training.epochs, training.lr"),
        ("training: {epochs: 0}", "training.epochs: must be at least 1, got 0"),
        ("training: {lr: 0}", "training.lr: must be more than 0.0, got 0"),
        ("training: {lr: 1}", "training.lr: must be less than 1.0, got 1"),
        ("training: {epochs: many}", "training.epochs: must be a valid integer"),
        ("training: {epochs: many}", "got 'many'"),
        ("training: {device: toaster}", "training.device: must be a device, not a toaster"),
        ("model: x", "model: must be 'n' or 's', got 'x'"),
        ("training: 3", "training: must be a mapping of keys, got 3"),
        ("weights: 3", "weights: must be a mapping of keys, got 3"),
        ("- a\n- b\n", "must be a mapping of keys, got list"),
        ("model: s\nmodel: n\n", "key 'model' is given twice"),
        ("training:\n  lr: 0.1\n  lr: 0.2\n", "key 'lr' is given twice"),
        ("model: [s", "not YAML"),
        ("model: !!python/object/apply:os.system [id]", "not YAML"),
        ("? [1, 2]\n: 3\n", "not YAML"),
        ("1: 2\n", "1: keys should be strings, got 1"),
        ("a: &a [*a]\n", "a: unknown key"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_with_file_and_key(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path, Config)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epochs", "--set: must look like key=value or group.key=value, got 'training.epochs'"),
        ("=3", "--set: must look like"),
        ("a..b=3", "--set: must look like"),
        ("training.epocs=3", "--set: training.epocs: unknown key; did you mean 'training.epochs'?"),
        ("training.epochs=-1", "--set: training.epochs: must be at least 1, got -1"),
        ("model.name=3", "--set: 'model.name=3': model is a single value, it has no key 'name'"),
        ("model=[s", "--set: model: not a YAML value: '[s'"),
    ],
)
def test_a_mistake_in_an_override_names_the_flag(tmp_path, override, message):
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, "model: s"), Config, [override])
    assert str(error.value).startswith(message)


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match=r"^configuration: data: is missing$"):
        load(None, Needs)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"c\.yaml: cannot read it \(No such file"):
        load(tmp_path / "c.yaml", Config)


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match=r"c\.yaml: not a text file"):
        load(tmp_path / "c.yaml", Config)


def test_merge_keys_may_be_overridden(tmp_path):
    config = load(write(tmp_path, "extra_training: &base {epochs: 3, lr: 0.5}\ntraining: {<<: *base, epochs: 4}\n"), Config)
    assert (config.training.epochs, config.training.lr) == (4, 0.5)


def test_a_long_wrong_value_is_cut_short(tmp_path):
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, f"model: {'x' * 10_000}"), Config)
    assert len(str(error.value)) < 400


def test_a_section_is_read_alone_where_the_file_has_it(tmp_path):
    path = write(tmp_path, "name: recipe\ntraining:\n  epochs: 7\n")
    assert load(path, Training, ["lr=0.5"], section="training") == Training(epochs=7, lr=0.5)
    assert load(write(tmp_path, "epochs: 7\n"), Training, section="training") == Training(epochs=7)
    with pytest.raises(ConfigError, match="epoch: unknown key; did you mean 'epochs'"):
        load(write(tmp_path, "training: {epoch: 7}\n"), Training, section="training")
