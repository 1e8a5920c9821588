"""Scripts as their authors leave them: the function written in a few lines, a name, a title."""

from __future__ import annotations

import ast

LOOK_INTO = '''
def look_into(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the number of characters."""
    return {"characters": sum(len(row["text"]) for row in rows)}
'''
PROCESS = '''
def process(row: dict[str, Any]) -> dict[str, Any]:
    """Return the length of the text."""
    if not isinstance(row["text"], str):
        raise ValueError("no text")
    return {"characters": len(row["text"])}
'''
CONVERSATION = '''
def conversation(row: dict[str, Any], column: str) -> list[dict[str, str]]:
    """Return the question, asked politely."""
    return [{"role": "user", "content": f"Please answer: {row[column]}"}]
'''
PREPARE = '''
def prepare(row: dict[str, Any]) -> dict[str, Any]:
    """Return the conversation alone."""
    return {"messages": row["messages"]}
'''
MAKE = '''
def make(model: Path, folder: Path) -> None:
    """Write the sizes of the files of the model."""
    sizes = {path.name: path.stat().st_size for path in sorted(model.iterdir()) if path.is_file()}
    (folder / "sizes.txt").write_text(repr(sizes), encoding="utf-8")
'''
FUNCTIONS = {
    "utility": LOOK_INTO,
    "dataset": PROCESS,
    "inference": CONVERSATION,
    "training": PREPARE,
    "artifact": MAKE,
}


def replaced(text: str, *functions: str) -> str:
    """Return the script with these functions in the place of those of the same name."""
    for source in functions:
        name = ast.parse(source).body[0].name
        node = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
        lines = text.splitlines(keepends=True)
        lines[node.lineno - 1 : node.end_lineno] = [source.strip() + "\n"]
        text = "".join(lines)
    return text


def written(text: str, kind: str) -> str:
    """Return the script with its function, its title and its name written."""
    return replaced(text, FUNCTIONS[kind]).replace("My script", "Count things").replace("my-script", "count-things")
