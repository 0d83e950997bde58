"""Which fields are called foreign: few of those trained on, and those that are, by name and number."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from smear import drift
from smear.drift import BLURRED, BRIGHT, DIM, FOREIGN, MAGNIFIED, Reference, describe, judge
from smear.errors import ModelError
from smear.quality import COLOURS, measure_quality


def fields(n: int, *, seed: int = 0, laboratories: int = 2) -> list[dict[str, float]]:
    """Fields of a few laboratories, each with its own stain."""
    rng = np.random.default_rng(seed)
    stains = np.random.default_rng(99).uniform(0, 1, (laboratories, len(COLOURS)))
    rows = []
    for i in range(n):
        colours = stains[i % laboratories] + rng.normal(0, 0.03, len(COLOURS))
        light = {"focus": rng.normal(0.4, 0.03), "background": rng.normal(0.8, 0.02), "saturated_share": 0.0}
        rows.append({**light, "rbc_px": rng.uniform(60, 110), **dict(zip(COLOURS, colours.tolist(), strict=True))})
    return rows


@pytest.fixture(scope="module")
def reference() -> Reference:
    known = Reference.from_card(json.loads(json.dumps(describe(fields(400)))))
    assert known is not None
    return known


def names(quality: dict[str, float], reference: Reference | None) -> set[str]:
    return {warning.split(":")[0] for warning in judge(quality, reference)[1]}


def test_without_statistics_nothing_is_warned_of():
    assert Reference.from_card({}) is None
    assert judge({"focus": 0.0}, None) == ({"focus": 0.0}, ())


def test_fields_of_the_training_kind_are_warned_of_rarely(reference):
    warned = [bool(names(field, reference)) for field in fields(600, seed=5)]
    assert np.mean(warned) <= 0.03


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"focus": 0.1}, BLURRED),
        ({"background": 0.99}, BRIGHT),
        ({"saturated_share": 0.2}, BRIGHT),
        ({"background": 0.5}, DIM),
        ({"rbc_px": 20.0}, MAGNIFIED),
        ({"rbc_px": 300.0}, MAGNIFIED),
        (dict.fromkeys(COLOURS, 0.5), FOREIGN),
        ({"white_balance_red": 3.0}, FOREIGN),
    ],
)
def test_a_field_outside_is_named_with_its_number(reference, change, name):
    _, warnings = judge({**fields(1)[0], **change}, reference)
    assert [w.split(":")[0] for w in warnings] == [name]
    assert any(character.isdigit() for character in warnings[0])


def test_a_field_between_two_stains_is_foreign_to_both(reference):
    """A box around all stains would let it pass."""
    first, second = fields(2)
    middle = {name: (first[name] + second[name]) / 2 for name in COLOURS}
    assert names({**first, **middle}, reference) == {FOREIGN}


def test_too_small_a_field_is_not_called_blurred_as_well(reference):
    assert names({**fields(1)[0], "rbc_px": 10.0, "focus": 0.05}, reference) == {MAGNIFIED}


def test_what_was_not_measured_is_not_judged(reference):
    known, warnings = judge({"background": 0.8}, reference)
    assert warnings == ()
    assert "stain_distance" not in known


def test_the_distance_is_added_to_the_numbers(reference):
    field = fields(1)[0]
    known, _ = judge(field, reference)
    assert set(known) - set(field) == {"stain_distance"}


def test_the_distance_is_that_of_the_slow_obvious_way(reference):
    field = fields(1, seed=8)[0]
    point = np.array([[field[name] for name in COLOURS]]) / reference.spread
    to_known, among = cdist(point, reference.stains)[0], cdist(reference.stains, reference.stains)
    nearest = np.argsort(to_known)[: drift.NEIGHBOURS]
    own = [np.sort(among[i])[drift.NEIGHBOURS] for i in nearest]  # 0 is itself
    wanted = to_known[nearest[-1]] / (np.mean(own) + drift.DENSITY_FLOOR)
    assert reference.stain_distance(field) == pytest.approx(wanted, rel=1e-4)


def test_the_order_of_the_fields_does_not_matter():
    rows = fields(50)
    one, other = (Reference.from_card(describe(some)) for some in (rows, rows[::-1]))
    assert one is not None
    assert other is not None
    assert one.limits == other.limits
    assert one.stain_limit == pytest.approx(other.stain_limit)


def test_a_picture_in_other_dyes_is_foreign(paint):
    """From pixels to the warning: the same cells, stained a little differently, and once in quite another way."""

    def field(seed: int) -> np.ndarray:
        gains = np.random.default_rng(seed).uniform(0.93, 1.0, 3)
        return np.rint(paint((160, 160), rbc_px=32, n_all=1, n_hem=1, seed=seed) * gains).astype(np.uint8)

    reference = Reference.from_card(describe([measure_quality(field(seed), rbc_px=32) for seed in range(80)]))
    alike = [names(measure_quality(field(seed), rbc_px=32), reference) for seed in range(100, 120)]
    assert sum(FOREIGN in warned for warned in alike) <= 1
    green = np.ascontiguousarray(field(100)[:, :, [1, 0, 2]])
    assert FOREIGN in names(measure_quality(green, rbc_px=32), reference)


def test_too_few_fields_call_no_stain_foreign():
    reference = Reference.from_card(describe(fields(drift.MIN_STAINS - 1)))
    assert FOREIGN not in names({**fields(1)[0], "white_balance_red": 3.0}, reference)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_few_fields_are_described_too(n):
    reference = Reference.from_card(describe(fields(n)))
    assert reference is not None
    judge(fields(1)[0], reference)
    assert n > 0 or judge(fields(1)[0], reference)[1] == ()


def test_a_card_keeps_at_most_so_many_stains(monkeypatch):
    monkeypatch.setattr(drift, "MAX_STAINS", 20)
    assert len(describe(fields(50))["stain"]["fields"]) == 20


@pytest.mark.parametrize("broken", [{"measures": {}}, {"stain": {}}, {"measures": {"focus": {}}, "stain": {}}, {"measures": 3, "stain": 4}])
def test_malformed_statistics_are_a_named_mistake(broken):
    with pytest.raises(ModelError, match="statistics: "):
        Reference.from_card(broken)
