"""What hangs together through links: a crop, its twins, and all that is of their patients."""

from collections.abc import Hashable, Iterable, Sequence


def connected(items: Sequence[Hashable], links: Iterable[tuple[Hashable, Hashable]]) -> dict[Hashable, int]:
    """The connected component of every item, numbered by first appearance; links between unknown items are an error (KeyError)."""
    parent = {item: item for item in items}

    def root(item: Hashable) -> Hashable:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in links:
        parent[root(a)] = root(b)
    numbers: dict[Hashable, int] = {}
    return {item: numbers.setdefault(root(item), len(numbers)) for item in items}
