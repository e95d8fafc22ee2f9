"""Datasets and models as the API's description shows them."""

SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

DATASET = {
    "name": "digits",
    "size_mb": 0.452401,
    "sample_count": 1797,
    "format": "npz",
    "dimensions": "8x8x1",
    "created_at": "2026-01-31T11:59:00.000000Z",
    "file_path": "/data/datasets/digits-4f1c2a.npz",
    "sha256": SHA256,
    "labels": "integers",
    "class_count": 10,
}
MODEL = {
    "name": "mlp_digits_0123456789ab",
    "size_mb": 0.098511,
    "created_at": "2026-01-31T12:00:10.000000Z",
    "file_path": "/data/models/mlp_digits_0123456789ab-7be0d1.pt",
    "sha256": SHA256,
    "session_id": "sess_0123456789ab",
}
REGISTERED = {"message": "Dataset digits is registered.", "name": "digits", "size_mb": 0.452401}
DELETED = {"message": "Model mlp_digits_0123456789ab is deleted."}
CSV = "height,width,label\n1.5,2,cat\n3,4.5,dog\n"
