"""What the worker does: write a user's books into the folder that it shares with the API."""

import csv
from pathlib import Path
from typing import Any

from sample_apps.csv_export.library import COLUMNS, Library
from sample_apps.pull_executor.executor import Handler, Progress


def exporter(library: Library, shared: Path) -> Handler:
    """The handler of the task. It raises where there is nothing to export, or nowhere to put it."""

    def export(params: Any, progress: Progress) -> dict[str, Any]:
        books = library.books(params["owner_id"])
        if not books:
            raise LookupError("there are no books to export")
        target = shared / params["filename"]
        # Half a file is never seen under its name, and one that is written twice is the same file.
        half = target.with_suffix(".half")
        with half.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(books)
        half.replace(target)
        progress(len(books), len(books), "books")
        return {"filename": target.name, "books": len(books)}

    return export
