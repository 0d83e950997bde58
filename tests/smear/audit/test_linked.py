"""Links join what they name, and through it all that hangs on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smear.audit.linked import connected


def test_links_join_items_through_others() -> None:
    assert connected("abcde", [("a", "c"), ("c", "d")]) == {"a": 0, "b": 1, "c": 0, "d": 0, "e": 2}


def test_a_link_to_an_unknown_item_is_an_error() -> None:
    with pytest.raises(KeyError):
        connected("ab", [("a", "z")])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_linked_items_share_a_component(links: list[tuple[int, int]]) -> None:
    found = connected(range(10), links)
    assert all(found[a] == found[b] for a, b in links)
    assert len(set(found.values())) >= 10 - len(links)
