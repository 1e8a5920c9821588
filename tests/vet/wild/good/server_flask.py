# /// script
# dependencies = ["flask~=3.0"]
# ///
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route("/echo", methods=["POST"])
def echo():
    return jsonify(request.get_json())


if __name__ == "__main__":
    app.run(debug=True)
