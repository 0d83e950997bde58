"""Groups that no split may cut: which split each of them goes to."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
KEYS = ("patient", "slide", "field", "twins")


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
