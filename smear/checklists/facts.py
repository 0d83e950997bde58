"""What a model card knows about each question of the checklists; what it does not know is open, never guessed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smear.checklists import OPEN, Fact, answered, partly
from smear.models import ModelCard

Evaluations = Sequence[Mapping[str, Any]]

NEVER_KNOWN = (  # only people can answer these; `training.answers` of the card holds what they said
    "design", "deidentification", "acquisition", "reference_reason", "annotators", "test_labels", "agreement", "sample_size", "external",
    "demographics", "funding", "background", "inequalities", "dates", "setting", "blinding", "inputs_reason", "ethics", "conflicts",
    "public", "interpretation", "next_steps", "fairness", "eligibility",
)  # fmt: skip
ALWAYS = {
    "summary": answered("The first section of this page."),
    "goal": answered("Development of a model, and its evaluation on the sets named under Results. Nothing clinical was tried."),
    "missing": answered("Nothing is imputed: an unknown patient, slide or scale stays unknown, and an unreadable field is reported."),
    "ensemble": answered("None: one network."),
    "explanation": answered("None is part of the bundle."),
    "implications": answered("None for the care of patients: research use only."),
    "registration": Fact("not applicable", "Not a clinical trial."),
    "treatments": Fact("not applicable", "Images of blood, no treatment is studied."),
    "inputs_judged": Fact("not applicable", "The input is the picture; nobody judges it first."),
    "prediction": answered("By running the files of this bundle, after their hashes were checked, with its thresholds as stated."),
    "protocol": answered("The commands, settings, seed and versions of the training are under Training."),
    "poor_input": answered("A file that cannot be decoded is a recorded failure; an unknown scale, a cell cut by the border or a low "
                           "confidence is a warning in the report or a cell sent to review."),
    "user": answered("A person looks at the cells marked for review and at the warnings; that needs knowledge of blood cells."),
}  # fmt: skip


def facts(card: ModelCard, evaluations: Evaluations) -> dict[str, Fact]:
    """Every fact by its name; what people wrote into `card.training["answers"]` goes before what we can tell.

    Args:
        evaluations: as `smear.cards.evaluations` tells them.
    """
    known = {**dict.fromkeys(NEVER_KNOWN, OPEN), **ALWAYS, **{name: tell(card, evaluations) for name, tell in TELL.items()}}
    return known | {name: answered(str(text)) for name, text in (card.training.get("answers") or {}).items()}


def intended_use(card: ModelCard) -> str:
    names = f"white cells ({_listed(card.white_classes)})" if card.white_classes else _listed(card.classes)
    if card.task == "detect":
        return f"To find {names} in pictures of stained blood smear fields, for research."
    return f"To label a white cell that was cut out of a blood smear field as {_listed(card.classes, 'or')}, for research."


def _technology(card: ModelCard, _: Evaluations) -> Fact:
    kind = "object detector" if card.task == "detect" else "image classifier"
    return answered(f"Deep learning: a convolutional {kind} ({card.architecture}), trained with labels; predicts {_listed(card.classes)}.")


def _sources(card: ModelCard, _: Evaluations) -> Fact:
    named = [f"{d.get('name', '?')} ({d.get('source') or 'source unknown'}; licence {d.get('licence') or 'unknown'})" for d in card.data]
    return partly("; ".join(named) + ". For whom they stand is open.") if named else OPEN


def _preprocessing(card: ModelCard, _: Evaluations) -> Fact:
    parts = [f"input of {card.input_px} pixels, normalised by {card.normalise!r}"]
    if card.rbc_px:
        parts.append(f"fields resized until a red cell is {card.rbc_px:g} pixels wide")
    if card.crop:
        unit = "red-cell diameters" if card.crop.unit == "rbc" else "box sides"
        parts.append(f"a square crop {card.crop.width:g} {unit} wide, background {card.crop.background}")
    return answered("; ".join(parts).capitalize() + ".")


def _subsets(card: ModelCard, _: Evaluations) -> Fact:
    commands = card.training.get("commands_before")
    return answered("By the commands that prepared the data, listed under Training.") if commands else OPEN


def _reference(card: ModelCard, _: Evaluations) -> Fact:
    known = f"The classes {_listed(card.classes)}, as the sources label them"
    painted = any("paint" in f"{d.get('name')} {d.get('source')}" for d in card.data)
    return partly(known + ("; painted fields are labelled by the program that paints them." if painted else ". How they did is open."))


def _partitions(card: ModelCard, _: Evaluations) -> Fact:
    splits = card.training.get("splits")
    if splits:
        return answered("; ".join(f"{name}: {_counted(counts)}" for name, counts in splits.items()) + ".")
    sizes = {name: card.training[key] for name, key in (("train", "n_train"), ("validation", "n_val")) if key in card.training}
    return partly("; ".join(f"{name}: {n} crops" for name, n in sizes.items()) + ". Slides and patients are not stated.") if sizes else OPEN


def _disjoint(card: ModelCard, _: Evaluations) -> Fact:
    rule = "A patient, slide, field or picture known to be in two splits is refused by the commands"
    splits = card.training.get("splits") or {}
    if splits and all(counts.get("patients") and not counts.get("files without a patient") for counts in splits.values()):
        return answered(rule + "; every split names its patients.")
    return partly(rule + "; where no patient is known, two pictures of one patient may lie on both sides.")


def _model(card: ModelCard, _: Evaluations) -> Fact:
    files = ", ".join(f"{name} (SHA-256 {digest[:12]}…)" for name, digest in card.files.items())
    return answered(f"{card.architecture}, output {card.head!r}, classes in order {', '.join(card.classes)}; weights: {files or 'none'}.")


def _software(card: ModelCard, _: Evaluations) -> Fact:
    versions = card.training.get("versions") or {}
    return answered(", ".join(f"{name} {version}" for name, version in versions.items()) + ".") if versions else OPEN


def _start(card: ModelCard, _: Evaluations) -> Fact:
    start = card.training.get("start_weights") or (card.training.get("config") or {}).get("weights")
    return answered(f"{start}." if start != "none" else "Random, by the seed; no pretrained weights.") if start else OPEN


def _training(card: ModelCard, _: Evaluations) -> Fact:
    config = card.training.get("config") or {}
    shown = {key: config[key] for key in ("epochs", "batch", "imgsz") if key in config}
    text = ", ".join(f"{key} {value}" for key, value in shown.items())
    if not card.training.get("command"):
        return partly(f"{text.capitalize()}.") if text else OPEN
    return answered(f"{text + '; ' if text else ''}every setting, augmentation included, and the command are under Training.")


def _selection(card: ModelCard, _: Evaluations) -> Fact:
    config, best = card.training.get("config") or {}, card.training.get("best_epoch")
    if best is not None and config.get("select"):
        return answered(f"Epoch {best}, the best by {config['select']!r} on the validation part.")
    if "confidence" in card.thresholds:
        return partly(
            f"The checkpoint with the best fitness on validation; the confidence {card.thresholds['confidence']:g} was chosen there."
        )
    return OPEN


def _measures(_: ModelCard, evaluations: Evaluations) -> Fact:
    names = dict.fromkeys(row["key"] for e in evaluations for row in e["numbers"])
    return answered(f"{', '.join(names)}; docs/evaluation.md says what each is.") if names else OPEN


def _uncertainty(_: ModelCard, evaluations: Evaluations) -> Fact:
    methods = dict.fromkeys(row["method"] for e in evaluations for row in e["numbers"] if row.get("method"))
    return answered(f"95 % intervals by {', '.join(map(str, methods))}.") if methods else OPEN


def _robustness(_: ModelCard, evaluations: Evaluations) -> Fact:
    if any(e["stress"] for e in evaluations):
        return answered("The stress table under Results: stain, white balance, blur, focus, JPEG, illumination and scale.")
    left_out = [e["name"] for e in evaluations if "held_out" in e["name"]]
    return partly(f"A stain left out of training ({', '.join(left_out)}); no stress table is recorded.") if left_out else OPEN


def _internal(_: ModelCard, evaluations: Evaluations) -> Fact:
    named = [f"{e['name']} ({e['n']:,} {e['unit']})" for e in evaluations if e["n"]]
    return answered("; ".join(named) + ".") if named else OPEN


def _performance(_: ModelCard, evaluations: Evaluations) -> Fact:
    if not evaluations:
        return OPEN
    if any(row.get("low") is not None for e in evaluations for row in e["numbers"]):
        return answered("The tables under Results, with intervals.")
    return partly("The tables under Results; no interval is recorded.")


def _accuracy(card: ModelCard, evaluations: Evaluations) -> Fact:
    if card.task != "classify":
        return Fact("not applicable", "A detector: it finds cells and says nothing about disease.")
    return _performance(card, [e for e in evaluations if any(row["key"] in ("recall", "specificity") for row in e["numbers"])])


def _failures(_: ModelCard, evaluations: Evaluations) -> Fact:
    if not any(e["confusion"] or e["per_class"] for e in evaluations):
        return OPEN
    return partly("Counts of right and wrong per class under Results; examples are in the report of `python -m smear evaluate`.")


def _limits(card: ModelCard, _: Evaluations) -> Fact:
    only_standard = card.limits == ModelCard.model_fields["limits"].default
    return partly(card.limits + " What else limits it is open.") if only_standard else answered(card.limits)


def _availability(card: ModelCard, evaluations: Evaluations) -> Fact:
    return partly(f"The model and its software: {card.licence}. Data: {_sources(card, evaluations).text or 'not stated.'}")


def _data_access(card: ModelCard, evaluations: Evaluations) -> Fact:
    return answered(_sources(card, evaluations).text.removesuffix(" For whom they stand is open.")) if card.data else OPEN


def _code_access(card: ModelCard, _: Evaluations) -> Fact:
    version = card.training.get("git")
    return (
        answered(f"Open, {card.licence}; trained at version {version}.")
        if version
        else partly(f"Open, {card.licence}; version not stated.")
    )


def _recalibration(card: ModelCard, _: Evaluations) -> Fact:
    if card.task == "classify" and card.temperature != 1:
        return answered(f"Probabilities are calibrated by one temperature, {card.temperature:.3g}, fitted on validation.")
    return answered("None.")


def _imbalance(card: ModelCard, _: Evaluations) -> Fact:
    balance = (card.training.get("config") or {}).get("balance")
    return answered("Cells are drawn so that groups weigh alike: " + ", ".join(f"{k} {v}" for k, v in balance.items())) if balance else OPEN


def _output(card: ModelCard, _: Evaluations) -> Fact:
    what = "boxes, each with a class and a score" if card.task == "detect" else "one probability a class"
    limits = ", ".join(f"{name} {value:.3g}" for name, value in card.thresholds.items())
    return answered(f"Out come {what}; thresholds: {limits or 'none'}.")


def _differences(_: ModelCard, evaluations: Evaluations) -> Fact:
    groups = [e["name"] for e in evaluations if e["groups"]]
    return partly(f"Numbers per stain or source are given for {', '.join(groups)}; people are not compared.") if groups else OPEN


def _clusters(_: ModelCard, evaluations: Evaluations) -> Fact:
    groups = [e["name"] for e in evaluations if e["groups"]]
    return answered(f"Tables per stain or source: {', '.join(groups)}.") if groups else OPEN


def _numbers(card: ModelCard, evaluations: Evaluations) -> Fact:
    sizes = _partitions(card, evaluations).text
    return partly(f"{sizes} Evaluations: {_internal(card, evaluations).text}") if sizes else _internal(card, evaluations)


def _listed(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def _counted(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


TELL: dict[str, Callable[[ModelCard, Evaluations], Fact]] = {
    "technology": _technology,
    "use": lambda card, _: answered(intended_use(card) + " Not a diagnostic device."),
    "aims": lambda card, _: answered(intended_use(card) + " No hypothesis was tested."),
    "sources": _sources,
    "preprocessing": _preprocessing,
    "subsets": _subsets,
    "reference": _reference,
    "partitions": _partitions,
    "disjoint": _disjoint,
    "model": _model,
    "software": _software,
    "start": _start,
    "training": _training,
    "selection": _selection,
    "measures": _measures,
    "uncertainty": _uncertainty,
    "robustness": _robustness,
    "internal": _internal,
    "flow": lambda card, evaluations: partly(text) if (text := _partitions(card, evaluations).text) else OPEN,
    "performance": _performance,
    "accuracy": _accuracy,
    "failures": _failures,
    "limits": _limits,
    "availability": _availability,
    "data_access": _data_access,
    "code_access": _code_access,
    "recalibration": _recalibration,
    "imbalance": _imbalance,
    "output": _output,
    "inputs": _preprocessing,
    "inputs_handling": _preprocessing,
    "differences": _differences,
    "clusters_method": _clusters,
    "clusters": _clusters,
    "numbers": _numbers,
}
