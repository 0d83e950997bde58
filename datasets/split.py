"""Split by group: what shares a slide, a patient or a duplicate stays together, and every label is shared out in proportion.

`python -m datasets.split DATA --out OUT` splits a prepared set or crops table anew, into a set of its own; the old one is only read. A
split that would leak is not made.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from datasets import convert
from datasets.groups import KEYS, SHARES
from datasets.resplit import resplit
from smear.errors import ConfigError


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
        lambda a: resplit(a.data, a.out, shares=parse_shares(a.shares), seed=a.seed, group=a.group, progress=not a.quiet),
    )


if __name__ == "__main__":
    raise SystemExit(main())
