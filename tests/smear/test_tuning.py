"""The fastest runtime is found by measuring, once, and remembered for this machine and bundle."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from smear import machine, tuning
from smear.build import build_analyzer, open_models
from smear.errors import ModelError
from smear.models import Bundle, open_bundle
from smear.settings import AnalyzeSettings
from smear.tuning import Choice, candidates_for, choose, measure, pick, sample_batch
from smear.types import Pixels


@dataclass
class Sleeper:
    """A runtime that takes so many seconds, and counts its calls."""

    name: str
    seconds: float
    device: str = "cpu"
    takes_pixels: bool = True
    n_calls: int = 0
    error: Exception | None = None

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        if self.error:
            raise self.error
        self.n_calls += 1
        time.sleep(self.seconds)
        return (np.zeros((len(batch), 1), np.float32),)


@dataclass
class Shop:
    """Opens sleepers by name and remembers which."""

    speeds: dict[str, float | Exception]
    opened: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> Sleeper:
        self.opened.append(name)
        speed = self.speeds[name]
        if isinstance(speed, Exception):
            raise speed
        return Sleeper(name, speed)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def detector(models) -> Bundle:
    return open_bundle(models / "detector")


def chosen(bundle: Bundle, shop: Shop, **options) -> Choice:
    return choose(bundle, tuple(shop.speeds), open_one=shop, **{"batch": np.zeros((1, 8, 8, 3), np.uint8), "device": "cpu", **options})


FAST_SECOND = {"onnx": 0.006, "openvino": 0.001}


class TestChoosing:
    def test_the_fastest_is_taken_and_the_text_says_how_much_faster(self, detector):
        choice = chosen(detector, Shop(FAST_SECOND), lanes=2)
        assert (choice.name, choice.how, choice.device, choice.lanes) == ("openvino", "measured", "cpu", 2)
        assert choice.seconds["onnx"] > 2 * choice.seconds["openvino"]
        ratio = choice.seconds["onnx"] / choice.seconds["openvino"]
        assert choice.text == f"openvino on the CPU, {ratio:.1f} x onnx (measured here, 2 lanes)"

    def test_a_second_time_opens_nothing(self, detector):
        first, shop = chosen(detector, Shop(FAST_SECOND)), Shop(FAST_SECOND)
        again = chosen(detector, shop)
        assert shop.opened == []
        assert (again.name, again.how, again.seconds) == (first.name, "remembered", first.seconds)
        assert again.text.endswith("(measured here before, 1 lane)")

    @pytest.mark.parametrize("changes", [{"lanes": 2}, {"threads": 1}, {"batch": np.zeros((2, 8, 8, 3), np.uint8)}, {"device": "auto"}])
    def test_another_question_is_measured_again(self, detector, changes):
        chosen(detector, Shop(FAST_SECOND))
        assert chosen(detector, Shop(FAST_SECOND), **changes).how == "measured"

    def test_another_bundle_machine_or_choice_is_measured_again(self, detector, models, monkeypatch):
        chosen(detector, Shop(FAST_SECOND))
        assert chosen(open_bundle(models / "classifier"), Shop(FAST_SECOND)).how == "measured"
        assert chosen(detector, Shop({**FAST_SECOND, "openvino-bf16": 0.001})).how == "measured"
        monkeypatch.setattr(tuning, "describe", lambda: {"cpu": "another"})
        assert chosen(detector, Shop(FAST_SECOND)).how == "measured"

    def test_the_only_candidate_is_neither_opened_nor_measured(self, detector, cache):
        shop = Shop({"onnx": 1.0})
        assert (chosen(detector, shop).how, shop.opened, cache.exists()) == ("only", [], False)

    @pytest.mark.parametrize("broken", [ModelError("device: is not there"), OSError("libcudart.so: gone"), RuntimeError("no\nmemory")])
    def test_one_that_does_not_open_is_left_out_with_its_reason(self, detector, broken):
        choice = chosen(detector, Shop({"onnx": broken, "openvino": 0.001}))
        assert choice.name == "openvino"
        assert choice.left_out == {"onnx": " ".join(str(broken).split())}
        assert choice.text == "openvino on the CPU (measured here, 1 lane)"
        assert chosen(detector, Shop({"onnx": broken, "openvino": 0.001})).left_out == choice.left_out

    def test_one_that_opens_and_fails_when_called_is_left_out(self, detector):
        def open_one(name: str) -> Sleeper:
            return Sleeper(name, 0.001, error=RuntimeError("out of memory") if name == "onnx" else None)

        choice = choose(detector, ("onnx", "openvino"), open_one=open_one, batch=np.zeros((1, 8, 8, 3), np.uint8))
        assert (choice.name, choice.left_out) == ("openvino", {"onnx": "out of memory"})

    def test_none_that_opens_is_one_error_with_all_reasons(self, detector):
        with pytest.raises(ModelError, match=r"no runtime can run it \(onnx: a; openvino: b\)"):
            chosen(detector, Shop({"onnx": ModelError("a"), "openvino": ModelError("b")}))

    def test_no_candidate_says_what_to_install(self, detector):
        with pytest.raises(ModelError, match=r"none is installed.*install onnxruntime"):
            chosen(detector, Shop({}))


class TestCache:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: "",
            lambda text: text[: len(text) // 2],
            lambda text: "[]",
            lambda text: text.replace('"openvino"', '"tensorflow"'),
            lambda text: json.dumps({**json.loads(text), "seconds": 3}),
            lambda text: json.dumps({**json.loads(text), "seconds": {"onnx": 0, "openvino": 0}}),
        ],
    )
    def test_a_damaged_file_is_measured_anew_and_written_anew(self, detector, cache, damage):
        chosen(detector, Shop(FAST_SECOND))
        (kept,) = cache.rglob("*.json")
        kept.write_text(damage(kept.read_text()))
        assert chosen(detector, Shop(FAST_SECOND)).how == "measured"
        assert chosen(detector, Shop(FAST_SECOND)).how == "remembered"

    def test_a_folder_that_cannot_be_written_is_no_error(self, detector, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("LEUKOFIELD_CACHE", str(tmp_path / "file"))
        assert [chosen(detector, Shop(FAST_SECOND)).how for _ in range(2)] == ["measured"] * 2


class TestMeasuring:
    def test_all_lanes_call_at_once(self):
        together, n_calls = threading.Barrier(4, timeout=20), []

        def runtime(batch: np.ndarray) -> tuple[np.ndarray, ...]:
            together.wait()  # breaks unless four are here
            n_calls.append(1)
            return (batch,)

        seconds = measure({"onnx": runtime}, np.zeros((1, 8, 8, 3), np.uint8), lanes=4)
        assert seconds["onnx"] > 0
        assert len(n_calls) == 4 * (tuning.WARM_UPS + tuning.ROUNDS)

    @pytest.mark.parametrize(
        ("seconds", "name"),
        [
            ({"onnx": 1.0, "openvino": 0.98}, "onnx"),
            ({"onnx": 1.0, "openvino": 0.96}, "openvino"),
            ({"onnx": 1.0, "openvino": 0.5, "openvino-bf16": 0.49}, "openvino"),
            ({"onnx": 1.0}, "onnx"),
        ],
    )
    def test_a_tie_goes_to_the_more_exact(self, seconds, name):
        assert pick(seconds) == name

    def test_batches_are_what_the_networks_take(self, models):
        window = sample_batch(open_bundle(models / "detector"), Pixels())
        crops = sample_batch(open_bundle(models / "classifier"), None)
        assert (window.shape, window.dtype) == ((1, 640, 640, 3), np.uint8)
        assert (crops.shape, crops.dtype) == ((12, 3, 32, 32), np.float32)
        assert 0 <= crops.min() < crops.max() <= 1


class TestCandidates:
    def with_variants(self, bundle: Bundle, **accepted: bool) -> Bundle:
        variants = {name.replace("_", "-"): {"accepted": value} for name, value in accepted.items()}
        return Bundle(bundle.root, type(bundle.card).model_validate({**bundle.card.model_dump(), "variants": variants}))

    @pytest.fixture(autouse=True)
    def _all_installed(self, monkeypatch):
        monkeypatch.setattr(tuning, "is_installed", lambda name: True)

    def test_float32_comes_first_and_torch_only_beside_a_gpu(self, detector, monkeypatch):
        assert candidates_for(detector, "cpu") == ("onnx", "openvino")
        monkeypatch.setattr(tuning, "has_gpu", lambda: True)
        assert candidates_for(detector, "cpu") == ("onnx", "openvino")
        assert candidates_for(detector, "auto") == ("onnx", "openvino", "torch")
        assert candidates_for(detector, "cuda:0") == ("onnx", "torch")

    def test_a_variant_counts_once_the_gate_has_accepted_it(self, detector):
        bundle = self.with_variants(detector, openvino_bf16=True, onnx_int8=False)
        assert candidates_for(bundle, "cpu") == ("onnx", "openvino", "openvino-bf16")

    def test_what_is_not_installed_is_no_candidate(self, detector, monkeypatch):
        monkeypatch.setattr(tuning, "is_installed", lambda name: name == "onnx")
        assert candidates_for(detector) == ("onnx",)


class TestLanes:
    @pytest.mark.parametrize(
        ("cores", "threads", "lanes"), [(1, None, 1), (2, None, 2), (2, 2, 1), (2, 5, 1), (4, 2, 2), (64, None, 4), (64, 1, 4)]
    )
    def test_lanes_share_the_cores(self, monkeypatch, cores, threads, lanes):
        monkeypatch.setattr(machine, "n_cores", lambda: cores)
        assert machine.lanes_for("cpu", threads=threads) == lanes

    def test_a_gpu_is_fed_by_two(self, monkeypatch):
        monkeypatch.setattr(machine, "has_gpu", lambda: True)
        assert machine.lanes_for("auto", threads=None) == 2


class TestInAnAnalysis:
    def settings(self, models, **changes) -> AnalyzeSettings:
        return AnalyzeSettings(**{"detector": models / "detector", "classifier": models / "classifier", "device": "cpu", **changes})

    def test_the_key_depends_on_the_names_and_not_on_how_they_were_found(self, models, monkeypatch):
        def force(name: str) -> str:
            monkeypatch.setattr("smear.build.choose", lambda *a, **k: Choice(name, "measured"))
            return open_models(self.settings(models)).key()

        asked = {name: open_models(self.settings(models, runtime=name)).key() for name in ("onnx", "openvino")}
        assert {name: force(name) for name in asked} == asked
        assert len(set(asked.values())) == 2

    def test_auto_finds_what_onnx_finds(self, models, paint):
        image = paint((360, 480), rbc_px=40, n_all=1, n_hem=2, n_red=9)
        found = []
        for runtime in ("auto", "onnx"):
            opened = open_models(self.settings(models, runtime=runtime, lanes=2))
            assert set(opened.runtimes) == {"detector", "classifier"}
            boxes = build_analyzer(opened).find_cells(image, 7.5 / 40)[0].boxes
            found.append(boxes[np.lexsort(boxes.round().T)])  # all score the same, to the last bits
        assert len(found[0]) == 3
        np.testing.assert_allclose(found[0], found[1], atol=0.01)

    def test_a_variant_asked_for_that_has_not_passed_is_refused(self, models):
        with pytest.raises(ModelError, match="has not passed the parity gate"):
            build_analyzer(open_models(self.settings(models, runtime="openvino-bf16")))

    def test_commands_say_what_was_picked_and_the_report_holds_it(self, run, slides, tmp_path, capsys):
        assert run(slides, tmp_path / "out", "--runtime", "onnx") == 0
        assert "detector: onnx (as asked, " in capsys.readouterr().out
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["config"]["runtimes"] == {"detector": "onnx", "classifier": "onnx"}
