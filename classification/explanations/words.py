"""What came out in words: does a map beat its controls, what it lies on, which features count; for the console and the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from smear.report.formats import number, percent, plural, signed

Scores = Mapping[str, Any]
CONTROLS = {"chance": "a random map", "centre": "a spot in the middle"}
FEW_PLACES = 4  # along a side: below it a map cannot tell a nucleus from its cytoplasm
FEW_GROUPS = 10


def fine_method(part: Scores) -> tuple[str, Scores]:
    """The method whose map has the most places: the one to say what the heat lies on."""
    return max(part["methods"].items(), key=lambda item: item[1]["places"])


def beats(scores: Scores) -> str:
    """Whether the map of a method says anything: "beats a random map, but not a spot in the middle"."""
    told = {word: [name for key, name in CONTROLS.items() if scores["beats"][key] is value] for word, value in _VERDICTS}
    won, lost, unknown = told["beats"], told["does not beat"], told["cannot be told from"]
    if unknown:
        return f"cannot be told from {' or '.join(unknown)}: too few groups, or no heat"
    if not lost:
        return f"beats {' and '.join(won)}"
    return f"beats {won[0]}, but not {lost[0]}" if won else f"beats neither {' nor '.join(lost)}"


def where(part: Scores, scores: Scores) -> str:
    """What the heat lies on, beside what an even map would: one sentence without its full stop."""
    shares, even = ({zone: entry["mean"] for zone, entry in each.items()} for each in (scores["shares"], part["even"]))
    if shares["outside"] is None:
        return "no cell with a map could be told from its surroundings, so nobody can say what it lies on"
    inside, level = (f"{percent(1 - each['outside'])}" for each in (shares, even))
    of = "" if shares["nucleus"] is None else f" ({percent(shares['nucleus'])} in the nucleus, {percent(shares['cytoplasm'])} around it)"
    return f"{inside} of the heat lies in the cell{of}, {percent(shares['outside'])} outside; an even map would have {level} in the cell"


def weighs(part: Scores) -> str:
    """Which features count: one sentence without its full stop."""
    if not part["families"] or part["families"][0]["share"] is None:
        return "no feature moves the label of these cells"
    families = ", ".join(f"{entry['name'].replace('_', ' ')} {percent(entry['share'])}" for entry in part["families"][:3] if entry["share"])
    return f"the families that move the label most are {families}; the first feature is {part['top'][0]['name'].replace('_', ' ')}"


def doubts(report: Scores) -> list[str]:
    """What keeps a reader from taking the pictures at their word, the gravest first."""
    told = []
    networks = [part for part in report["parts"] if part["kind"] == "network"]
    n, several = len(report["cells"]), len(report["parts"]) > 1
    for part in networks if n else ():
        of = f" of {part['name']}" if several else ""
        for scores in part["methods"].values():
            title = f"{scores['title']}{of}"
            if scores["beats"]["chance"] is False:
                told.append(f"{title} does not beat a random map (ROAD {_road(scores)}): read nothing into its colours")
            if is_outside(part, scores):
                told.append(f"{title} has more heat outside the cell than an even map would: the label may come from the background")
            if scores["n_empty"]:
                told.append(
                    f"{title}: {scores['n_empty']} of {plural(n, 'map')} empty, nothing there speaks for the label; they are not scored"
                )
            if min(scores["places"]) < FEW_PLACES:
                told.append(f"{title} has {_places(scores)} places at {part['input_px']} px: it cannot tell a nucleus from its cytoplasm")
    if n and report["n_groups"] < FEW_GROUPS:
        told.append(f"{plural(report['n_groups'], 'group')} by {report['group']}: intervals over so few are too narrow, if there are any")
    return [*told, *report["warnings"]]


def is_outside(part: Scores, scores: Scores) -> bool:
    """Whether the heat outside the cell is certainly more than that of an even map."""
    outside, even = scores["shares"]["outside"], part["even"]["outside"]
    return None not in (outside["low"], even["mean"]) and outside["low"] > even["mean"]


def console_lines(report: Scores) -> list[str]:
    """A line a method or a model on features, then the warnings."""
    lines = [f"{plural(len(report['cells']), 'cell')} explained of {number(report['n_labelled'])} labelled; research use only"]
    for part in report["parts"] if report["cells"] else ():
        if part["kind"] == "features":
            lines.append(f"{part['name']}: {weighs(part)}")
            continue
        for scores in part["methods"].values():
            road = f"ROAD {_road(scores)}, a random map {signed(scores['chance']['mean'])}, a spot {signed(part['centre']['mean'])}"
            lines.append(f"{part['name']}: {scores['title']} ({_places(scores)} places): {road}; {beats(scores)}")
            lines.append(f"  {where(part, scores)}")
    return lines + [f"warning: {told}" for told in doubts(report)]


_VERDICTS: Sequence[tuple[str, bool | None]] = (("beats", True), ("does not beat", False), ("cannot be told from", None))


def _road(scores: Scores) -> str:
    road = scores["road"]
    if road["low"] is None:
        return signed(road["mean"])
    return f"{signed(road['mean'])}, {signed(road['low'])} to {signed(road['high'])}"


def _places(scores: Scores) -> str:
    return f"{scores['places'][0]} × {scores['places'][1]}"
