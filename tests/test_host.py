"""`jobshelf hub` by hand: another terminal logs in, works, and finds everything again after a restart."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import polars as pl
from huggingface_hub import HfApi

from support import ROOT


@contextmanager
def hub_by_hand(root, environment, *words, lines=2):
    """Start the real command; yield what its second line exports, and end it as Ctrl-C does."""
    argv = [sys.executable, "-m", "jobshelf", "hub", "--root", str(root), "--port", "0", *words]
    with subprocess.Popen(argv, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            printed = [process.stdout.readline() for _ in range(lines)]
            script = f'{printed[1]}\necho "$HF_ENDPOINT $HF_TOKEN"'
            said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
            yield said.split(), printed
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def test_what_it_prints_logs_in_and_a_restart_loses_nothing(environment, tmp_path):
    with hub_by_hand(tmp_path / "state", environment) as ((endpoint, token), lines):
        assert token not in "".join(lines)
        client = HfApi(endpoint=endpoint, token=token)
        assert client.whoami()["name"] == "me"
        client.create_repo("me/things", repo_type="dataset", private=True)
        head = client.repo_info("me/things", repo_type="dataset").sha
    with hub_by_hand(tmp_path / "state", environment) as ((endpoint, again), _):
        assert again == token
        assert HfApi(endpoint=endpoint, token=again).repo_info("me/things", repo_type="dataset").sha == head
    assert (tmp_path / "state" / "token").stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"hf_[0-9a-f]{34}", token)


def test_polars_reads_an_hf_path_through_the_tls_mode(environment, tmp_path):
    code = "import polars as pl; print(pl.scan_parquet('hf://datasets/me/things/n.parquet').collect()['n'].sum())"
    (tmp_path / "read.py").write_text(code)
    with hub_by_hand(tmp_path / "state", environment, "--tls", lines=4) as ((endpoint, token), lines):
        assert "For clients that know https://huggingface.co only" in lines[2]
        client = HfApi(endpoint=endpoint, token=token)
        client.create_repo("me/things", repo_type="dataset", private=True)
        buffer = io.BytesIO()
        pl.DataFrame({"n": range(10)}).write_parquet(buffer)
        client.upload_file(
            path_or_fileobj=buffer.getvalue(), path_in_repo="n.parquet", repo_id="me/things", repo_type="dataset"
        )
        # as a person types it: what the two lines export, but no HF_ENDPOINT
        script = f"{lines[1]}\n{lines[3]}\nunset HF_ENDPOINT\n{sys.executable} read.py"
        done = subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "45\n"), done.stderr
