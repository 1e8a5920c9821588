"""The search for the token: everywhere that a run can write to."""

from __future__ import annotations

import os
import time
from pathlib import Path

from jobshelf.rehearse.canary import CANARY, READER, search
from jobshelf.rehearse.environment import Environment, shared_folders
from jobshelf.rehearse.world import names_a_token
from rehearse.test_trouble import request


def test_it_is_found_in_contents_and_names_whole_or_begun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "tmp" / "deep").mkdir(parents=True)
    (folder / "stderr").write_text(f"login with {CANARY[:8]}...")
    (folder / "tmp" / "deep" / "core").write_bytes(b"\x7fELF" + READER.encode())
    (folder / "tmp" / f"{CANARY}.lock").touch()
    (folder / "stdout").write_text("hf_ is how a token begins")
    found = search(folder)
    assert found.files == 4
    assert found.leaks == ("run/stderr", "run/tmp/deep/core", f"run/tmp/{CANARY}.lock")


def test_in_a_shared_folder_only_what_is_new_counts(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(CANARY)
    os.utime(tmp_path / "old", (1, 1))
    (tmp_path / "new").write_text(CANARY)
    assert search(tmp_path, since=time.time() - 60).leaks == (f"{tmp_path.name}/new",)


def test_the_environment_and_the_cache_of_uv_are_shared(tmp_path: Path) -> None:
    found = [path.name for path in shared_folders(Environment(folder=tmp_path / "environment"))]
    assert found[0] == "environment"
    assert not [name for name in found if name.startswith(("archive-", "wheels-"))]


def test_a_token_in_an_address_counts_and_the_signature_of_the_hubs_own_does_not() -> None:
    assert not names_a_token(request("GET", "/_lfs/read/ab/model?size=1&expires=2&signature=***"))
    assert names_a_token(request("GET", "/api/models?token=***"))
    assert names_a_token(request("GET", "/_lfs/read/ab/model?signature=***&token=***"))
