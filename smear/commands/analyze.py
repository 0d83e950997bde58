"""`python -m smear analyze`: a folder of fields in, pictures, tables and the report out."""

import argparse
from collections.abc import Callable, Sequence

from tqdm import tqdm

from smear.build import Opened, make_analyze, open_models
from smear.commands.request import printable, refuse_inside, settings_of, shown_config
from smear.commands.said import conclude, say_review, say_runtimes, say_written
from smear.engines import open_engine
from smear.exports import FOLDER, parse_formats
from smear.exports.folder import check_untouched
from smear.fields import find_fields
from smear.store import Store
from smear.types import Field


def analyze_command(options: argparse.Namespace) -> int:
    """Find, cut and label the white cells of a folder; 1 when a field failed."""
    formats = parse_formats(options.export) if options.export else ()
    for name in formats:
        check_untouched(options.out / FOLDER / name)  # now, not after hours of analysis
    settings = settings_of(options)
    fields = find_fields(options.folder, slides=options.slides)
    refuse_inside(options.out, options.folder)
    opened = open_models(settings)
    say_runtimes(opened)
    say_review(opened)
    store = Store(options.out, fields, key=opened.key(), with_crops=options.crops, with_annotated=options.annotated)
    _run(opened, fields, recall=store.recall, keep=store.keep)
    config = shown_config(settings, runtimes=opened.runtimes, review=opened.review.text, fields=printable(options.folder))
    code = conclude(options.out, store.finish(store.outcomes(), cards=opened.cards, config=config))
    if formats:
        from smear.exports.write import export

        say_written(export(list(store.outcomes()), options.out / FOLDER, formats))
    return code


def _run(opened: Opened, fields: Sequence[Field], **hooks: Callable) -> None:
    """Analyse all fields; the outcomes lie in the store, none is held here."""
    engine = open_engine("local")
    for _ in tqdm(engine(make_analyze(opened, **hooks), fields), total=len(fields), desc="analyze", unit="field"):
        pass
