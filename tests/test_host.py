"""`jobshelf hub` by hand: another terminal logs in, works, and finds everything again after a restart."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager

from huggingface_hub import HfApi

from support import ROOT


@contextmanager
def hub_by_hand(root, environment):
    """Start the real command; yield what its second line exports, and end it as Ctrl-C does."""
    argv = [sys.executable, "-m", "jobshelf", "hub", "--root", str(root), "--port", "0"]
    with subprocess.Popen(argv, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline(), process.stdout.readline()]
            script = f'{lines[1]}\necho "$HF_ENDPOINT $HF_TOKEN"'
            said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
            yield said.split(), lines
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
