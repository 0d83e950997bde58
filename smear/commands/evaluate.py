"""`python -m smear evaluate`: an analysis of labelled fields, with detection and per-cell metrics in the report and in metrics.json."""

import argparse
import json
from functools import partial

from tqdm import tqdm

from smear import annotations
from smear.build import open_models
from smear.bundles import record_metrics
from smear.cards import for_cards
from smear.commands.request import refuse_inside, settings_of, shown_config
from smear.commands.said import conclude, say_review, say_runtimes
from smear.evaluation import gather, question_of, score, stress
from smear.files import write_atomic
from smear.labelled import read_labelled
from smear.report.console import in_report, metric_lines
from smear.report.records import jsonable
from smear.store import Store
from smear.stress import stress_lines


def evaluate_command(options: argparse.Namespace) -> int:
    """Measure both models on a labelled split; 1 when a field failed."""
    settings = settings_of(options)
    data = annotations.read_data_yaml(options.data)
    for folder in {parent for path in data.images(options.split) for parent in path.parents if data.root in parent.parents}:
        refuse_inside(options.out, folder)
    labelled = read_labelled(data, options.split)
    opened = open_models(settings)
    say_runtimes(opened)
    say_review(opened)
    store = Store(options.out, labelled.fields, key=opened.key(), with_crops=False)
    question = question_of(opened, labelled)
    evidence = gather(opened, labelled, question, store, progress=partial(tqdm, total=len(labelled.fields), desc="evaluate", unit="field"))
    metrics = score(opened, labelled, question, evidence, n_resamples=options.resamples)
    if options.stress is not None:
        bar = partial(tqdm, desc="stress", unit="condition")
        metrics["stress"] = stress(opened, labelled, question, options.out, n_fields=options.stress or None, progress=bar)
    write_atomic(options.out / "metrics.json", json.dumps(jsonable(metrics), indent=1, allow_nan=False) + "\n")
    shown = [e.cells for e in evidence]
    if options.record:
        told = for_cards(jsonable(metrics), data=options.data.parent.name, split=options.split)
        for bundle in (b for b in (opened.detector, opened.classifier) if b and b.card.task in told):
            record_metrics(bundle.root, options.record, told[bundle.card.task])
    config = {
        **shown_config(settings, runtimes=opened.runtimes, review=opened.review.text),
        "data": options.data.name,
        "split": options.split,
    }
    report = store.finish(shown, cards=opened.cards, config=config, metrics=in_report(metrics))
    print("\n" + "\n".join([*metric_lines(metrics), *(stress_lines(metrics["stress"]) if "stress" in metrics else ())]))
    return conclude(options.out, report)
