# /// script
# requires-python = ">=3.11"
# dependencies = ["fastapi", "uvicorn"]
# ///
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
todos: dict[int, str] = {}


class Todo(BaseModel):
    text: str


@app.post("/todos")
def add(todo: Todo) -> int:
    todos[len(todos)] = todo.text
    return len(todos) - 1


@app.get("/todos/{number}")
def show(number: int) -> str:
    if number not in todos:
        raise HTTPException(404)
    return todos[number]


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
