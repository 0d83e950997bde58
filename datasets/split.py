"""Split by group: what shares a slide, a patient or a duplicate stays together, and every label is shared out in proportion.

`python -m datasets.split DATA --out OUT` splits a prepared set or crops table anew, into a set of its own; the old one is only read. A
split that would leak is not made.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from smear.errors import ConfigError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
KEYS = ("patient", "slide", "field", "twins")


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


def split_groups(
    groups: Sequence[Hashable], labels: Sequence[str], *, shares: Mapping[str, float] = SHARES, seed: int = 0
) -> dict[Hashable, str]:
    """Give every group to one split so that each label comes near its share in each split.

    Greedy: groups by falling size (powers of two), in random order of `seed` within a size; each goes where its labels are
    missing most. Shares are of items, not of groups, and are met as well as the group sizes allow.

    Args:
        groups: the group of each of N items. labels: the label of each item, to be shared out evenly.
        shares: split → share; they are brought to sum 1.

    Returns:
        group → split.
    """
    members: defaultdict[Hashable, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        members[group][label] += 1
    whole = Counter(labels)
    total_share = sum(shares.values())
    missing = {split: {label: n * share / total_share for label, n in whole.items()} for split, share in shares.items()}
    order = np.random.default_rng(seed).permutation(len(members))
    names = [list(members)[i] for i in order]
    names.sort(key=lambda g: -round(np.log2(members[g].total())))  # stable: groups of like size keep their random order
    chosen: dict[Hashable, str] = {}
    for group in names:
        split = max(missing, key=lambda s: sum(n * missing[s][label] / whole[label] for label, n in members[group].items()))
        chosen[group] = split
        for label, n in members[group].items():
            missing[split][label] -= n
    return chosen


def parse_shares(text: str) -> dict[str, float]:
    """ "0.7,0.15,0.15" as split → share, of train, val and test in that order; a share of 0 leaves its split out.

    Raises:
        ConfigError: not two or three numbers of at least 0 that add up to 1, or none for training.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (2, 3) or not all(0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-6 or not values[0]:
        raise ConfigError(f"--shares: must be the shares of train, val and test, adding up to 1, such as 0.7,0.15,0.15; got {text!r}")
    return {split: share for split, share in zip(SHARES, values, strict=False) if share > 0}


def main(argv: Sequence[str] | None = None) -> int:
    from datasets import convert, resplit  # here, as they need the functions above

    made = argparse.ArgumentParser(prog="python -m datasets.split", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("data", type=Path, help="data.yaml or crops.csv of a prepared set, or its folder; only read")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the new set goes")
    made.add_argument("--shares", default="0.7,0.15,0.15", metavar="T,V,E", help="of train, val and test (default 0.7,0.15,0.15)")
    made.add_argument("--seed", type=int, default=0, help="same seed, same split (default 0)")
    made.add_argument("--group", choices=KEYS, help="what is kept whole beside twins (default: every group that the set tells)")
    made.add_argument("--quiet", action="store_true", help="no progress bar")
    return convert.run(
        made,
        argv,
        lambda a: resplit.resplit(a.data, a.out, shares=parse_shares(a.shares), seed=a.seed, group=a.group, progress=not a.quiet),
    )


if __name__ == "__main__":
    raise SystemExit(main())
