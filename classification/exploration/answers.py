"""What came out, in sentences: what a model could cheat with, what leaks, what contradicts itself, what is odd; the worst first."""

from collections.abc import Iterator, Mapping
from typing import Any

from classification.exploration.clues import FEW_GROUPS
from smear.report.formats import number, percent, plural

FLATTERS = 0.02  # of balanced accuracy that a random split adds: less is noise
Report = Mapping[str, Any]
Said = tuple[str, str]  # "open" or "clear", and a sentence


def answer(report: Report) -> dict[str, Any]:
    """`verdict`, one sentence, and `said`, entries of `kind` (open: look at it; clear: nothing found) and `text`."""
    said = [*_copies(report), *_shortcuts(report), *_own(report), *_flattery(report), *_sources(report), *_doubts(report), *_odd(report)]
    told = [{"kind": kind, "text": text} for kind, text in sorted(said, key=lambda pair: pair[0] != "open")]
    return {"verdict": _verdict(report), "said": told}


def units(report: Report) -> str:
    """Several groups, in words."""
    return "crops" if report["group"] == "file" else f"{report['group']}s"


def chance(report: Report) -> float:
    """Balanced accuracy of a guess among the classes that have crops."""
    return 1 / max(1, sum(n > 0 for n in report["n_per_class"].values()))


def _verdict(report: Report) -> str:
    counts = report["twins"]["counts"].values()
    leaks, contrary = (sum(row[what] for row in counts) for what in ("splits", "labels"))
    strongest = _strongest(report)
    if leaks:
        also = f", and the {strongest['name']} gives the class away" if strongest else ""
        return f"The splits leak: {plural(leaks, 'pair')} of crops on both sides of a split {_show(leaks)} the same cell{also}."
    if strongest:
        return f"A model could cheat: the {strongest['name']} gives the class away, so a random split would flatter."
    if contrary:
        return f"{plural(contrary, 'pair')} of crops {_show(contrary)} the same cell under two labels."
    if not report["clues"]:
        return "All crops are of one class, or alike in all that could tell it: what gives the class away cannot be asked."
    return "Nothing found that a model could cheat with, and no cell is on both sides of a split."


def _strongest(report: Report) -> Mapping[str, Any] | None:
    tell = [clue for clue in report["clues"] if clue["kind"] == "shortcut" and clue["tells"]]
    return max(tell, key=_strength, default=None)


def _strength(clue: Mapping[str, Any]) -> float:
    return float(clue["agreement"] if clue["strength"] is None else max(clue["strength"], clue["agreement"]))


def _copies(report: Report) -> Iterator[Said]:
    splits, labels, groups = (sum(row[what] for row in report["twins"]["counts"].values()) for what in ("splits", "labels", "groups"))
    if splits:
        yield "open", f"{plural(splits, 'pair')} of twins in two splits: what is learned from one is scored on the other."
    elif len(report["spread"]["split"]) > 1:
        yield "clear", "No two crops of different splits were found to show the same cell."
    else:
        yield "clear", f"All crops are in the split {next(iter(report['spread']['split']))!r}, so nothing can leak between splits."
    if labels:
        yield "open", f"{plural(labels, 'pair')} of twins under two labels: one of the two is wrong."
    if groups and report["group"] != "file":
        yield "open", f"{plural(groups, 'pair')} of twins in two {units(report)}: these are not independent, keep them in one fold."


def _shortcuts(report: Report) -> Iterator[Said]:
    shortcuts = [clue for clue in report["clues"] if clue["kind"] == "shortcut"]
    tell = sorted((clue for clue in shortcuts if clue["tells"]), key=_strength, reverse=True)
    if report["group"] == "file":
        yield "open", "No patient, slide, group or field is known: nothing keeps the cells of one smear together, so all numbers flatter."
    for clue in tell:
        yield "open", f"{_told(clue, report)} A random split has the same {clue['name']} on both sides and would flatter."
    if tell and report["n_groups"] < FEW_GROUPS:
        few = plural(report["n_groups"], report["group"])
        yield "open", f"There {_is(report['n_groups'])} only {few}: with so few, class and stain may agree by chance."
    if shortcuts and not tell:
        best = max(shortcuts, key=_strength)
        yield "clear", f"Nothing outside the cell tells the class; what tells most: {_short(best, report)}."


def _own(report: Report) -> Iterator[Said]:
    for clue in report["clues"]:
        if clue["kind"] != "shortcut" and clue["tells"]:
            why = "the scale" if clue["kind"] == "size" else "the stain"
            yield "open", f"{_told(clue, report)} That may be the disease, or {why} of its {units(report)}."


def _flattery(report: Report) -> Iterator[Said]:
    skill, flattered = report["suspects"]["skill"], report["suspects"]["skill_random"]
    if skill is None or report["group"] == "file":
        return
    both = f"{percent(skill, 1)} with {units(report)} apart and {percent(flattered, 1)} with crops parted at random"
    kind = "open" if flattered - skill >= FLATTERS else "clear"
    yield kind, f"Trees on all {number(report['n_features'])} features have a balanced accuracy of {both}."


def _sources(report: Report) -> Iterator[Said]:
    rows = report["spread"]["source"]
    if len(rows) < 2 or len(report["classes"]) < 2:
        return
    single = [source for source, counts in rows.items() if sum(n > 0 for n in counts.values()) == 1]
    if single:
        named = ", ".join(single[:3]) + (" and others" if len(single) > 3 else "")
        yield "open", f"{named}: {'holds' if len(single) == 1 else 'hold'} one class only, which cannot be told from its source there."


def _doubts(report: Report) -> Iterator[Said]:
    doubts = report["suspects"]
    if doubts["why_not"] is not None:
        yield "clear", f"Labels in doubt are not told: {doubts['why_not']}."
    elif not doubts["found"]:
        yield "clear", f"No label is in doubt, by features that tell the classes with a balanced accuracy of {percent(doubts['skill'], 1)}."
    else:
        believed = "look at them" if doubts["believable"] else "that is too little to believe a doubt, so look, and correct nothing by it"
        n, skill = plural(len(doubts["found"]), "label"), percent(doubts["skill"], 1)
        is_in = _is(len(doubts["found"]))
        yield "open", f"{n} {is_in} in doubt, by features that tell the classes with a balanced accuracy of {skill}: {believed}."


def _odd(report: Report) -> Iterator[Said]:
    odd = report["odd"]
    if report["dropped"]:
        yield "open", f"{plural(len(report['dropped']), 'crop')} cannot be read and {_were(len(report['dropped']))} left out."
    if odd["n_unmeasured"]:
        yield (
            "open",
            f"In {plural(odd['n_unmeasured'], 'crop')} no cell with a nucleus was found; on the maps and among the odd {_it(odd)}.",
        )
    if odd["n_beyond"]:
        share = percent(odd["n_beyond"] / odd["n_looked_at"], 1)
        yield "open", f"{plural(odd['n_beyond'], 'crop')} ({share}) {_lie(odd['n_beyond'])} far from all others in their features."
    elif odd["why_not"] is not None:
        yield "clear", f"Odd cells are not told: {odd['why_not']}."
    else:
        yield "clear", "No cell lies far from all others in its features."


def _told(clue: Mapping[str, Any], report: Report) -> str:
    """A sentence about a clue that tells."""
    name = clue["name"]
    if clue["balanced_accuracy"] is None:
        return f"The {name} goes with the class (agreement {number(clue['agreement'], 2)}); a class has too few {units(report)} to test it."
    right = f"a balanced accuracy of {percent(clue['balanced_accuracy'], 1)} on {units(report)} not looked at"
    return f"The {name} alone tells the class with {right} (chance {percent(chance(report))})."


def _short(clue: Mapping[str, Any], report: Report) -> str:
    if clue["balanced_accuracy"] is None:
        return f"the {clue['name']}, agreement {number(clue['agreement'], 2)}"
    right = percent(clue["balanced_accuracy"], 1)
    return f"the {clue['name']}, balanced accuracy {right}, chance {percent(chance(report))}"


def _show(n: int) -> str:
    return "shows" if n == 1 else "show"


def _is(n: int) -> str:
    return "is" if n == 1 else "are"


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _lie(n: int) -> str:
    return "lies" if n == 1 else "lie"


def _it(odd: Mapping[str, Any]) -> str:
    return "it is missing" if odd["n_unmeasured"] == 1 else "they are missing"
