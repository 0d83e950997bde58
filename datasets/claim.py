"""What CLAIM asks about data, answered from a manifest or marked open: items 7 to 21, Methods, of the 2024 update.

Source: Tejani et al. 2024, Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update, Radiology: Artificial
Intelligence 6(4), e240300. Topics are named in our words. A manifest may answer an item itself: `"claim": {"8": "…"}`.
"""

from collections.abc import Callable, Mapping
from typing import Any

TOPICS = {
    7: "Data sources",
    8: "Inclusion and exclusion criteria",
    9: "Preprocessing",
    10: "Selection of subsets",
    11: "De-identification",
    12: "Missing data",
    13: "Image acquisition protocol",
    14: "How the reference standard was obtained",
    15: "Why this reference standard",
    16: "Who annotated",
    17: "Annotation of the test set",
    18: "Variability between and within annotators",
    19: "How data were assigned to splits",
    20: "Level at which splits are disjoint",
    21: "Intended sample size",
}
PAINTED_HAS_NONE = (8, 10, 11, 12, 13, 15, 18)


def items(manifest: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row an item: `item`, `topic`, `status` ("answered", "open" or "not applicable") and `answer` ("" when open without a word).

    Args:
        groups: of each kind of group how it is spread, as `leaks.shared_groups` tells.
    """
    own = {str(key): str(text) for key, text in (manifest.get("claim") or {}).items()}
    rows = []
    for number, topic in TOPICS.items():
        status, answer = ("answered", own[str(number)]) if str(number) in own else _answer(number, manifest, groups)
        rows.append({"item": number, "topic": topic, "status": status, "answer": answer})
    return rows


def _answer(number: int, manifest: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    if manifest.get("painted") and number in PAINTED_HAS_NONE:
        return "not applicable", "painted by code"
    if number == 20:
        return _disjoint(groups)
    tell = _TELL.get(number)
    text = tell(manifest) if tell else ""
    return ("answered" if text else "open"), text


def _sources(manifest: Mapping[str, Any]) -> str:
    sets = [f"{s.get('name')} ({s.get('source')}, {s.get('licence')})" for s in manifest.get("sets", ())]
    alone = f"{manifest['source']}, {manifest.get('licence')}" if manifest.get("source") else ""
    return "; ".join(sets) or alone


def _preprocessing(manifest: Mapping[str, Any]) -> str:
    said = []
    if manifest.get("crop"):
        said.append("cut out by the crop contract " + ", ".join(f"{key} {value}" for key, value in manifest["crop"].items()))
    if manifest.get("sets") and manifest.get("rbc_px"):
        said.append(f"resized to red cells of {manifest['rbc_px']} px")
    repairs = [f"{note} ({len(files)})" for note, files in (manifest.get("notes") or {}).items()]
    return "; ".join(said + repairs) or "none: files as the source gives them, TIFF decoded to PNG"


def _subsets(manifest: Mapping[str, Any]) -> str:
    dropped = manifest.get("dropped") or ()
    return f"{len(dropped)} images left out because they are twins of others; each stands in the manifest" if dropped else ""


def _missing(manifest: Mapping[str, Any]) -> str:
    found = {note: len(files) for note, files in (manifest.get("notes") or {}).items() if "missing" in note or "without" in note}
    return "; ".join(f"{note}: {n}" for note, n in found.items())


def _reference(manifest: Mapping[str, Any]) -> str:
    return "boxes and classes of what was painted, exact" if manifest.get("painted") else str(manifest.get("labels_from") or "")


def _assigned(manifest: Mapping[str, Any]) -> str:
    split = manifest.get("split")
    if not split:
        return ""
    shares = ", ".join(f"{name} {share:g}" for name, share in split["shares"].items())
    return f"at random, seed {split['seed']}, {shares}; whole: {', '.join(split['kept_whole'])}; classes shared out in proportion"


def _disjoint(groups: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    known = {key: told for key, told in groups.items() if told["n_images_known"]}
    said = [
        f"{key}: {len(told['in_two_splits'])} of {told['n']} in two splits, known for {told['n_images_known']} of "
        f"{told['n_images_known'] + told['n_images_unknown']} images"
        for key, told in known.items()
    ]
    is_told = any(not told["n_images_unknown"] for key, told in known.items() if key in ("patient", "slide"))
    return ("answered" if is_told else "open"), "; ".join(said) or "no patient, slide or field is told"


_TELL: dict[int, Callable[[Mapping[str, Any]], str]] = {
    7: _sources,
    9: _preprocessing,
    10: _subsets,
    12: _missing,
    14: _reference,
    16: _reference,
    17: _reference,
    19: _assigned,
}
