"""Columns of a dataset under the names that a trainer expects."""

from typing import Any

from .stop import stop


def map_columns(rows: Any, pairs: list[str], wanted: list[tuple[str, ...]], likely: dict[str, str]) -> Any:
    """Return the rows, renamed by OLD=NEW `pairs`; stop with 4 unless they have all columns of one tuple in `wanted`.

    `likely` are usual names and what they would be here, for the advice.
    """
    names = dict(pair.split("=", 1) for pair in pairs)
    listed = ", ".join(rows.column_names[:20])
    if missing := names.keys() - set(rows.column_names):
        stop(4, f"there is no column {min(missing)!r}", f"choose from {listed}")
    renamed = [names.get(name, name) for name in rows.column_names]
    if twice := [name for name in renamed if renamed.count(name) > 1]:
        stop(4, f"there would be two columns {twice[0]!r}", f"also rename the other: --map {twice[0]}=other_{twice[0]}")
    if not any(set(columns) <= set(renamed) for columns in wanted):
        forms = " or ".join("+".join(columns) for columns in wanted)
        found = {new: old for old, new in likely.items() if old in renamed}
        fit = [columns for columns in wanted if set(columns) <= {*found, *renamed}]
        moves = [f"{found[name]}={name}" for name in (fit[0] if fit else ()) if name not in renamed]
        fix = f"--map {' '.join(moves)}" if moves else "dataset_inspector.py shows how to map them"
        stop(4, f"the columns are {listed}; expected {forms}", fix)
    return rows.rename_columns(names)
