"""Who gets an answer: requests as a browser would send them for a page, written out by hand."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from huggingface_hub import HfApi

from hub.contract import ADA, Ask
from jobshelf.hub import Hub, serve

PATH = "/api/agent-harnesses"
FAULT = b'{"path": "", "kind": "status", "status": 500, "times": 1000}'
Speak = Callable[..., tuple[int, str]]


@pytest.fixture
def hub(shared_hub: Hub) -> Hub:
    """The Hub that the tests share, with no fault and nothing in its journal."""
    shared_hub.clear_faults()
    shared_hub.clear_journal()
    return shared_hub


@pytest.fixture
def port(hub: Hub) -> str:
    return hub.endpoint.rpartition(":")[2]


@pytest.fixture
def speak(hub: Hub, port: str) -> Speak:
    """`speak("Host: x", target="/", body=b"")`: the status and the text of the answer to these very header lines."""

    def send(*headers: str, method: str = "GET", target: str = PATH, body: bytes = b"", version: str = "1.1"):
        length = (f"Content-Length: {len(body)}",) if body else ()
        head = "\r\n".join((f"{method} {target} HTTP/{version}", *headers, *length, "Connection: close", "", ""))
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
            connection.sendall(head.encode("latin-1") + body)
            answer = connection.makefile("rb").read().decode("latin-1")
        return int(answer.split()[1]), answer

    return send


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LocalHost:{}"])
def test_its_own_names_are_answered(speak: Speak, port: str, host: str):
    assert speak(f"Host: {host.format(port)}")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{}",
        "evil.example",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:{}0",
        "127.0.0.1:0{}",
        "localhost.:{}",
        "127.0.0.1.:{}",
        "127.0.0.1.evil.example:{}",
        "localhost.evil.example:{}",
        "evil@127.0.0.1:{}",
        "127.0.0.1:{}@evil.example",
        "127.1:{}",
        "2130706433:{}",
        "0.0.0.0:{}",
        "[::1]:{}",
        "[::ffff:127.0.0.1]:{}",
        "127.0.0.1:{},evil.example",
        "127.0.0.1:{}/",
        "huggingface.co",
        "cdn-lfs.huggingface.co",
        "",
    ],
)
@pytest.mark.parametrize("target", ["/", PATH, "/_hub/journal", "/nowhere"])
def test_any_other_host_is_refused_before_anything_looks_at_it(
    speak: Speak, hub: Hub, port: str, host: str, target: str
):
    fault = hub.fail(path="", status=500, times=1000)
    secret = f"Authorization: Bearer {hub.instruments_secret}"
    assert speak(f"Host: {host.format(port)}", secret, target=target)[0] == 421
    assert (fault.seen, hub.journal()) == (0, ())


def test_no_host_and_several_are_refused(speak: Speak, hub: Hub, port: str):
    assert speak()[0] == 400
    assert speak(version="1.0")[0] == 421
    assert speak(f"Host: 127.0.0.1:{port}", f"Host: 127.0.0.1:{port}")[0] == 400
    assert speak(f"Host: 127.0.0.1:{port}", "Host: evil.example")[0] == 400
    assert hub.journal() == ()


@pytest.mark.parametrize(
    "target", ["http://evil.example/", "http://127.0.0.1:{}/_hub/journal", "*", "evil.example:443", "?a", "%2f"]
)
def test_a_target_that_is_no_path_is_refused(speak: Speak, hub: Hub, port: str, target: str):
    for method in ("GET", "POST", "OPTIONS", "CONNECT"):
        assert speak(f"Host: 127.0.0.1:{port}", method=method, target=target.format(port))[0] == 400
    assert hub.journal() == ()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_its_own_origin_is_answered(speak: Speak, port: str, name: str):
    own = f"Host: {name}:{port}"
    assert speak(own, f"Origin: http://{name}:{port}")[0] == 200
    assert speak(own, "Sec-Fetch-Site: same-origin")[0] == 200
    assert speak(own, "Sec-Fetch-Site: none")[0] == 200


@pytest.mark.parametrize(
    "header",
    [
        "Origin: null",
        "Origin: http://evil.example",
        "Origin: http://evil.example:{}",
        "Origin: http://127.0.0.1",
        "Origin: http://127.0.0.1:1",
        "Origin: https://127.0.0.1:{}",
        "Origin: http://127.0.0.1:{}.evil.example",
        "Origin: http://127.0.0.1:{}/",
        "Origin: http://localhost.:{}",
        "Origin: http://evil@127.0.0.1:{}",
        "Origin: https://huggingface.co",
        "Origin: file://",
        "Origin:",
        "Origin: http://127.0.0.1:{0}\r\nOrigin: http://evil.example",
        "Origin: http://127.0.0.1:{0} http://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: ",
    ],
)
def test_another_origin_is_refused_before_anything_looks_at_it(speak: Speak, hub: Hub, port: str, header: str):
    fault = hub.fail(path="", status=500, times=1000)
    own, token = f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {ADA.token}"
    for method, target in (("GET", PATH), ("POST", "/api/repos/create"), ("OPTIONS", PATH), ("DELETE", "/_hub/faults")):
        status, answer = speak(own, token, header.format(port), method=method, target=target, body=b'{"name": "x"}')
        assert status == 403
        assert "access-control-" not in answer.lower()
    assert (fault.seen, hub.journal()) == (0, ())


def test_the_icon_of_a_refused_page_is_no_request(speak: Speak, hub: Hub, port: str):
    """A page that opens a window on the Hub gets a refusal there; for its icon the browser then asks as the Hub's own page."""
    fault = hub.fail(path="", status=500, times=1000)
    assert speak(f"Host: 127.0.0.1:{port}", "Sec-Fetch-Site: same-origin", target="/favicon.ico")[0] == 404
    assert (fault.seen, hub.journal()) == (0, ())


def test_a_refusal_does_not_wait_for_the_body(speak: Speak, port: str):
    headers = (f"Host: 127.0.0.1:{port}", "Origin: null", "Content-Length: 1000000000")
    assert speak(*headers, method="POST", target="/api/repos/create")[0] == 403


def test_in_tls_mode_the_real_names_are_its_own_too(tmp_path):
    with serve(tmp_path / "tls", tls=True) as hub:
        port = hub.endpoint.rpartition(":")[2]
        for host, status in (("huggingface.co", 200), (f"huggingface.co:{port}", 421), ("hf.co", 421)):
            request = (
                f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://huggingface.co\r\nConnection: close\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
                connection.sendall(request.encode())
                assert int(connection.makefile("rb").readline().split()[1]) == status


@pytest.mark.parametrize("target", ["/", PATH, "/nowhere", "/_hub/journal", "/_hub/faults", "/_lfs/read/x/y"])
def test_every_answer_says_what_a_browser_must_not_do_with_it(ask: Ask, target: str):
    for headers in ({}, {"Origin": "null"}, {"Host": "evil.example"}):
        found = ask("GET", target, **headers).headers
        assert found["x-content-type-options"] == "nosniff"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert found["x-frame-options"] == "DENY"
        assert not [name for name in found if name.startswith("access-control-")]


def test_a_websocket_is_not_opened(speak: Speak, port: str):
    upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    assert speak(f"Host: 127.0.0.1:{port}", *upgrade)[0] == 200
    assert speak(f"Host: 127.0.0.1:{port}", "Origin: http://evil.example", *upgrade)[0] == 403


INSTRUMENTS = [(method, f"/_hub/{name}") for name in ("journal", "faults") for method in ("GET", "DELETE")]


@pytest.mark.parametrize(("method", "target"), [*INSTRUMENTS, ("POST", "/_hub/faults")])
def test_the_instruments_are_closed_without_their_secret(ask: Ask, hub: Hub, method: str, target: str):
    fault = hub.fail(path="/nowhere", status=500)
    ask("GET", PATH)
    secret = hub.instruments_secret
    for token in (
        None,
        "",
        " ",
        "x",
        secret[:-1],
        f"{secret}x",
        f" {secret}",
        secret.swapcase(),
        ADA.token,
        "\xff" * 43,
    ):
        answer = ask(method, target, token=token, body=FAULT, **{"Content-Type": "application/json"})
        assert (answer.status, secret in answer.body.decode()) == (401, False)
    for scheme in ("Basic", "bearer", "Token", ""):
        assert ask(method, target, Authorization=f"{scheme} {secret}".strip(), body=FAULT).status == 401
    assert ask(method, f"{target}?token={secret}&secret={secret}", body=FAULT).status == 401
    assert (len(hub.journal()), len(hub._core.faults.faults()), fault.lifted) == (1, 1, False)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "text/plain; a=application/json", "multipart/form-data; boundary=x", ""]
)
def test_a_fault_is_planned_by_json_only(ask: Ask, hub: Hub, kind: str | None):
    headers = {} if kind is None else {"Content-Type": kind}
    token = hub.instruments_secret
    assert ask("POST", "/_hub/faults", token=token, body=FAULT, **headers).status == 415
    if kind is not None:
        assert ask("DELETE", "/_hub/faults", token=token, **headers).status == 415
    assert ask("GET", "/_hub/faults", token=token).json == []
    kinds = {"Content-Type": "application/json; charset=utf-8"}
    assert ask("POST", "/_hub/faults", token=token, body=FAULT, **kinds).status == 200


def test_the_secret_is_new_at_every_start(hub: Hub, tmp_path):
    with serve(tmp_path / "other") as other:
        assert len({hub.instruments_secret, other.instruments_secret}) == 2
        assert min(len(hub.instruments_secret), len(other.instruments_secret)) >= 43


def test_a_job_does_not_get_the_secret(ada: HfApi, hub: Hub):
    job = ada.run_job(image="x", command=["sh", "-c", "env; tr '\\0' ' ' < /proc/$PPID/cmdline"], namespace="ada")
    ada.wait_for_job(job.id, namespace="ada", poll_interval=0.05)
    log = "\n".join(ada.fetch_job_logs(job_id=job.id, namespace="ada"))
    assert "HF_ENDPOINT=" in log
    assert hub.instruments_secret not in log
    assert hub.instruments_secret not in repr(hub.journal()) + repr(hub._core)
