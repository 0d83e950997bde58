"""A saved model brings no code along, and a changed one is not opened."""

import hashlib
import os

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from classification.classical.saving import from_bytes, to_bytes
from smear.errors import ModelError


def fitted() -> GaussianNB:
    return GaussianNB().fit([[0.0], [1.0], [4.0], [5.0]], [0, 0, 1, 1])


def opened(content: bytes) -> tuple:
    return from_bytes(content, name="m.skops", sha256=hashlib.sha256(content).hexdigest())


def test_a_model_comes_back() -> None:
    (again,) = opened(to_bytes((fitted(),)))
    x = np.linspace(0, 5, 7)[:, None]
    np.testing.assert_array_equal(again.predict_proba(x), fitted().predict_proba(x))


def test_another_hash_is_refused_before_anything_is_opened() -> None:
    with pytest.raises(ModelError, match=r"m\.skops: sha256 is .* the file was changed"):
        from_bytes(to_bytes((fitted(),)), name="m.skops", sha256="0" * 64)


def test_code_is_refused_by_name() -> None:
    content = skops.io.dumps([FunctionTransformer(os.system)])
    with pytest.raises(ModelError, match=r"posix\.system|os\.system"):
        opened(content)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip", skops.io.dumps({"a": 1}), skops.io.dumps([])])
def test_what_is_no_model_is_an_error(content: bytes) -> None:
    with pytest.raises(ModelError, match=r"not a readable model|must hold a list of estimators"):
        opened(content)


@pytest.mark.parametrize(("field", "value"), [("feature", 1000), ("left_child", 1000), ("right_child", 1000), ("left_child", 0)])
def test_a_tree_that_points_outside_itself_or_back_is_refused(field: str, value: int) -> None:
    """scikit-learn would follow it into memory that is not its own, or for ever."""
    tree = DecisionTreeClassifier(random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert opened(to_bytes((tree,)))
    state = tree.tree_.__getstate__()
    state["nodes"][field][0] = value
    tree.tree_.__setstate__(state)
    with pytest.raises(ModelError, match="points outside itself"):
        opened(to_bytes((tree,)))
