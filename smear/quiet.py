"""Nothing phones home: switches that keep third-party packages from reporting, installing or checking for updates.

Called before the first import of a package that would; each switch was read from the package's own source:

* onnxruntime >= 1.29 uploads usage events from Linux wheels; `ORT_DISABLE_TELEMETRY` counts only when set before import.
* openvino reports its own import unless `openvino_telemetry` cannot be imported; then it uses an empty stand-in.
* ultralytics asks PyPI for updates, installs missing packages with pip and sends usage events.
* albumentations asks PyPI for a newer version while it is imported.
"""

import os
import sys
from pathlib import Path

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "YOLO_OFFLINE": "true",  # no usage events, no update check; a download that the user named still works
    "YOLO_AUTOINSTALL": "false",
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
    "ULTRALYTICS_SAFE_LOAD": "true",  # a checkpoint may hold weights and known model classes, not arbitrary code
}


def silence() -> None:
    """Set every switch for this process and the processes it starts; a second call changes nothing.

    A variable that the user has set already is kept, so any of this can be turned on, but only by hand.
    Settings of ultralytics go to a folder of ours, and the user's own settings file is never touched.
    """
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(cache_root()))
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes its import fail


def cache_root() -> Path:
    """Folder for what may be lost: `$LEUKOFIELD_CACHE`, `$XDG_CACHE_HOME/leukofield`, or `~/.cache/leukofield`; not created here."""
    if ours := os.environ.get("LEUKOFIELD_CACHE"):
        return Path(ours)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "leukofield"
