# /// script
# requires-python = ">=3.11"
# dependencies = ["flask"]
# ///
from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def calculate():
    return str(eval(request.args["formula"]))  # expect: UVS501


app.run()
