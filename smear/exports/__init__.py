"""Results for other tools: `--export coco,yolo,voc,labelme,geojson,parquet`; `datasets` reads the corrected ones back."""

from collections.abc import Mapping

from smear.errors import ConfigError

FORMATS: Mapping[str, str] = {  # name → module with `write(batch)`, imported on demand
    "coco": "smear.exports.coco",
    "yolo": "smear.exports.yolo",
    "voc": "smear.exports.voc",
    "labelme": "smear.exports.labelme",
    "geojson": "smear.exports.geojson",
    "parquet": "smear.exports.parquet",
}
FOLDER = "exports"  # below the output folder of an analysis


def parse_formats(text: str) -> tuple[str, ...]:
    """The formats that a user named, "coco,yolo", each once.

    Raises:
        ConfigError: none, or one that we do not write.
    """
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise ConfigError(f"export: unknown format {unknown[0]!r}; use {', '.join(FORMATS)}" if unknown else "export: name a format")
    return names
