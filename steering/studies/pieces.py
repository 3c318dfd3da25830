"""Pieces: the parts of a study that take long, each kept as soon as it is done, so that a killed run goes on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lens.errors import ArtifactError
from lens.files import Files
from steering.studies.tables import frame_of, json_of

RUN = "run.json"


class Pieces:
    """Named tables of one run in a folder (or at an fsspec URL); without one, nothing is kept.

    settings: everything that decides the numbers (model, data, options). Raises ArtifactError: the folder holds a run
    with other settings, which are named.
    """

    def __init__(self, folder: str | Path | None, settings: dict[str, Any]) -> None:
        self._files = None if folder is None else Files(folder)
        if self._files is None:
            return
        # In the order given: what is told apart by its place (personas, options of a scale) has one.
        mine = json.dumps(settings, default=str)
        held = self._files.put_new(RUN, mine.encode())
        if held != mine.encode():
            theirs, ours = _read(held, folder), json.loads(mine)
            # As text, which keeps the order of what is in it.
            alike = {name for name in theirs.keys() & ours if json.dumps(theirs[name]) == json.dumps(ours[name])}
            first = min((theirs.keys() | ours) - alike, default="order of settings")
            raise ArtifactError(
                f"{folder} holds a run of other {first!r} ({theirs.get(first)!r:.80}, now {ours.get(first)!r:.80}); "
                "give a new folder, or the same settings."
            )

    def table(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The table of this name: as it was kept, or made now and kept. A damaged one is made again."""
        if self._files is None:
            return make()
        file = f"{name}.json"
        data = self._files.get(file)
        if data is not None:
            whole = _intact(data)
            if whole is not None:
                return frame_of(whole)
        table = json_of(make())
        body = json.dumps(table)
        self._files.put(file, json.dumps({"sha256": _digest(body), "table": body}).encode())
        # What was read back, so that a resumed run and a whole one are the same.
        return frame_of(json.loads(body))


def _read(held: bytes, folder: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(held))
    except ValueError as error:
        raise ArtifactError(f"{folder}: {RUN} is damaged; remove the folder to begin anew.") from error


def _intact(data: bytes) -> dict[str, Any] | None:
    try:
        kept = json.loads(data)
        body = kept["table"]
        return json.loads(body) if _digest(body) == kept["sha256"] else None
    except (KeyError, TypeError, ValueError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
