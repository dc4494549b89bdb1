"""Pictures of a study, where matplotlib is installed: its history, and which settings mattered."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlembed.tune.study import Study

log = logging.getLogger("mlembed")


def save_plots(study: Study) -> list[Path]:
    """Draw history.png and importance.png into the study's folder, with Optuna's own plots.

    Returns:
        The files; none where matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return []
    mpl.use("Agg")
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as drawing

    plots: dict[str, Callable[[Any], Any]] = {
        "history.png": drawing.plot_optimization_history,
        "importance.png": drawing.plot_param_importances,
    }
    made = []
    with warnings.catch_warnings():
        # Optuna calls these plots experimental each time.
        warnings.simplefilter("ignore")
        for name, plot in plots.items():
            path = study.folder / name
            plot(study.optuna).figure.savefig(path, dpi=150, bbox_inches="tight")
            made.append(path)
    pyplot.close("all")
    return made
