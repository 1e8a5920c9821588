"""The columns of a dataset, called as TRL calls them."""

from typing import Any

from .stop import stop


def map_columns(rows: Any, pairs: list[str], wanted: list[tuple[str, ...]], likely: dict[str, str]) -> Any:
    """Return the rows, renamed by OLD=NEW `pairs`; stop with 4 unless they have all columns of one tuple in `wanted`.

    `likely` are usual names and what they would be here, for the advice.
    """
    names, listed = dict(pair.split("=", 1) for pair in pairs), ", ".join(rows.column_names[:20])
    if missing := names.keys() - {*rows.column_names}:
        stop(4, f"there is no column {min(missing)!r}", f"choose from {listed}")
    columns = [names.get(name, name) for name in rows.column_names]
    if twice := [name for name in columns if columns.count(name) > 1]:
        stop(4, f"there would be two columns {twice[0]!r}", f"also rename the other: --map {twice[0]}=other_{twice[0]}")
    if not any({*one} <= {*columns} for one in wanted):
        found = {new: old for old, new in likely.items() if old in columns} | dict.fromkeys(columns, "")
        fit = next((one for one in wanted if {*one} <= found.keys()), ())
        moves = " ".join(f"{found[name]}={name}" for name in fit if found[name])
        forms = " or ".join("+".join(one) for one in wanted)
        fix = f"--map {moves}" if moves else "dataset_inspector.py shows how to map them"
        stop(4, f"the columns are {listed}; expected {forms}", fix)
    return rows.rename_columns(names)
