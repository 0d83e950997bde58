import pytest

from smear.engines import ENGINES, open_engine
from smear.errors import ConfigError
from smear.types import Field


def test_an_unknown_engine_names_the_known_ones():
    with pytest.raises(ConfigError, match="engine: must be one of 'local', got 'ray2'"):
        open_engine("ray2")


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_builds_its_own_analyser_and_gives_one_outcome_a_field(name, tmp_path):
    built = []

    def make():
        built.append(1)
        return lambda fields: (f"outcome of {field.id}" for field in fields)

    fields = [Field(i, tmp_path / i) for i in "abc"]
    assert sorted(open_engine(name)(make, fields)) == ["outcome of a", "outcome of b", "outcome of c"]
    assert built
    assert list(open_engine(name)(make, [])) == []
