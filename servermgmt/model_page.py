"""What a model's page shows beside its row: where it comes from, how good it is, and whether it can be tried."""

from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminFileFieldWidget

from registry.models import Model
from training.models import Metric, TrainingSession
from training.prediction import NotPredicted, predict, why_untried

ANCESTORS_SHOWN = 10
# A matrix of more classes is nothing to look at on a page.
MATRIX_CLASSES = 20
# The report's figures that stand for themselves, as a page names them.
FIGURES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "perplexity": "Perplexity",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "roc_auc": "ROC-AUC",
    "exact_match": "Exact match",
    "mse": "Mean squared error",
    "mae": "Mean absolute error",
    "r2": "R²",
    "max_error": "Largest error",
    "samples": "Samples",
    "tokens": "Tokens",
}
SHADES = 10


@dataclass(frozen=True)
class Cell:
    """How many samples of one class were taken for another; `shade` is the share of the class, from 0 to SHADES."""

    count: int
    shade: int


@dataclass(frozen=True)
class ModelPage:
    """A model and the session that trained it; None for an upload, and for those who may not see sessions."""

    model: Model
    session: TrainingSession | None

    @classmethod
    def of(cls, model: Model, user: Any) -> Self:
        may_see = model.session_id and user.has_perm("training.view_trainingsession")
        sessions = TrainingSession.objects.select_related("dataset", "model", "parent")
        return cls(model, sessions.filter(session_id=model.session_id).first() if may_see else None)

    @property
    def why_untried(self) -> str | None:
        return why_untried(self.session)

    @property
    def file_input(self) -> SafeString:
        """Where the file to try it with is chosen."""
        field: SafeString = UnfoldAdminFileFieldWidget().render("file", None, {"id": "try-file"})
        return field

    def try_with(self, file: Any) -> dict[str, Any]:
        """What the model says of an uploaded file. Raises NotPredicted."""
        if self.session is None:
            raise NotPredicted(f"It cannot be tried: {self.why_untried}")
        if file is None:
            raise NotPredicted("Choose a file first.")
        return predict(self.session, file.chunks())

    @property
    def ancestors(self) -> list[TrainingSession]:
        """The sessions that its session is a restart of, the nearest first."""
        return list(islice(self._ancestors(), ANCESTORS_SHOWN))

    def _ancestors(self) -> Any:
        parent = self.session.parent if self.session else None
        while parent is not None:
            yield parent
            parent = parent.parent

    @property
    def last_metric(self) -> Metric | None:
        return self.session.metrics.order_by("epoch").last() if self.session else None

    @property
    def report(self) -> dict[str, Any]:
        return (self.session.report if self.session else None) or {}

    @property
    def figures(self) -> list[tuple[str, Any]]:
        return [(title, self.report[name]) for name, title in FIGURES.items() if self.report.get(name) is not None]

    @property
    def matrix(self) -> list[tuple[str, list[Cell]]]:
        """The confusion matrix, a row for each true class; empty where there is none that fits a page."""
        counts = self.report.get("confusion_matrix") or []
        if len(counts) > MATRIX_CLASSES:
            return []
        names = [entry["name"] for entry in self.report["classes"]] if counts else []
        return [
            (name, [Cell(count, round(SHADES * count / (sum(row) or 1))) for count in row])
            for name, row in zip(names, counts, strict=True)
        ]
