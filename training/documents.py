"""The shape of the documents that trainers write: the record of a session and its report, as JSON Schemas.

training/engine/record.py and training/engine/report.py make them; what could not be found out, and what is not
defined, is null there.
"""

from typing import Any

Schema = dict[str, Any]


def _object(described: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": described, "properties": properties, "required": list(properties)}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
FIGURE: Schema = {"type": ["number", "null"]}
SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}

COMMIT = _or_null(
    _object(
        "The commit that was checked out, and whether files in git were changed since.",
        commit={"type": "string", "pattern": "^[0-9a-f]{40,64}$"},
        changed=FLAG,
    )
)
VERSIONS = _object(
    "Of what computes.",
    python=TEXT,
    torch=TEXT,
    numpy=TEXT,
    **{name: _or_null(TEXT) for name in ("server", "torchvision", "cuda")},
    cudnn={"type": ["integer", "null"]},
)
GPU = _object("A GPU that the trainer saw.", name=TEXT, memory_bytes=COUNT, compute_capability=TEXT)
DETERMINISM = _object(
    "PyTorch's switches.",
    deterministic_algorithms=FLAG,
    warn_only=FLAG,
    cudnn_deterministic=FLAG,
    cudnn_benchmark=FLAG,
    float32_matmul_precision=TEXT,
    cublas_workspace=_or_null(TEXT),
)
RECORD = _object(
    "What reproducing a session takes, as its trainer found it.",
    versions=VERSIONS,
    platform=TEXT,
    cpu=_object("The processor.", name=_or_null(TEXT), cores={"type": ["integer", "null"], "minimum": 1}),
    gpus={"type": "array", "items": GPU},
    gpu_driver=_or_null(TEXT),
    packages={"type": "object", "description": "Every package and its version.", "additionalProperties": TEXT},
    git=_object("The code of the server and of the architecture.", server=COMMIT, architecture=COMMIT),
    device=TEXT,
    seed=COUNT,
    threads=COUNT,
    determinism=DETERMINISM,
    dataset_sha256=SHA256,
    initial_weights_sha256=_or_null(SHA256),
    spec={"type": "object", "description": "What the trainer was given: the configuration, resolved, and its files."},
)

CLASS = _object("One class.", name=TEXT, count=COUNT, precision=SHARE, recall=SHARE, f1=SHARE, roc_auc=SHARE)
BY_CLASS: Schema = {
    "samples": COUNT,
    "macro_f1": SHARE,
    "weighted_f1": SHARE,
    "roc_auc": SHARE,
    "roc_auc_thresholds": {"type": ["integer", "null"], "description": "Null: the areas are exact."},
    "classes": {"type": "array", "items": CLASS},
}
MATRIX = _or_null(
    {
        "type": "array",
        "items": {"type": "array", "items": COUNT},
        "description": "Rows are the true classes, columns the guessed ones; null beyond 100 classes.",
    }
)


def _report(problems: tuple[str, ...], **figures: Schema) -> Schema:
    problem = {"type": "string", "enum": list(problems)}
    return _object(f"Of {' or '.join(problems)}.", problem=problem, loss=FIGURE, accuracy=SHARE, **figures)


REPORT: Schema = {
    "description": "How the final weights do on the validation split.",
    "oneOf": [
        _report(("classification", "binary"), **BY_CLASS, confusion_matrix=MATRIX),
        _report(("multi-label",), **BY_CLASS, exact_match=SHARE),
        _report(("regression",), samples=COUNT, mse=FIGURE, mae=FIGURE, r2=FIGURE, max_error=FIGURE),
        _report(("language modelling",), tokens=COUNT, perplexity=FIGURE),
    ],
}
