"""An application that takes uploads: a plain INSERT into its own table. It knows nothing of opskit.

DATABASE_URL=postgresql://… UPLOADS=/srv/uploads PYTHONPATH=examples uvicorn upload_form:app
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import psycopg
from fastapi import FastAPI, UploadFile

app = FastAPI()


@app.post("/uploads", status_code=201)
def upload(file: UploadFile) -> dict[str, str]:
    """Keep the bytes, then insert the row: a row whose file is missing would fail."""
    path = Path(os.environ["UPLOADS"]) / str(uuid.uuid4())
    with path.open("wb") as target:
        while block := file.file.read(1 << 20):
            target.write(block)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        row = connection.execute(
            "INSERT INTO uploaded_files (original_filename, storage_path, file_size) VALUES (%s, %s, %s) RETURNING id",
            (file.filename, str(path), path.stat().st_size),
        ).fetchone()
    assert row is not None
    return {"id": str(row[0])}
