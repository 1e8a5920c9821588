"""finepdfs-stats.py as a user meets it: figures against plain Python, real processes, the embedded Hub."""

from __future__ import annotations

import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import HfApi

from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub

NAME = "finepdfs-stats.py"
DUMPS = ("CC-MAIN-2014-10", "CC-MAIN-2014-41", "CC-MAIN-2019-30", "CC-MAIN-2021-04", None, "other-dump")
CARD = b"""---
configs:
- config_name: eng_Latn
  data_files: [{split: train, path: data/eng_Latn/train/*.parquet}]
- config_name: cym_Latn
  data_files: [{split: train, path: data/cym_Latn/train/*.parquet}]
---
"""


def documents(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of FinePDFs' schema with every kind of gap: no dump, no count, no, empty and partly null scores."""
    pick = random.Random(seed)
    return [
        {
            "id": f"{seed}-{number}",
            "text": "words " * 20,
            "dump": pick.choice(DUMPS),
            "token_count": pick.choice([None, pick.randrange(10, 10_000)]),
            "fw_edu_scores": pick.choice(
                [None, [], [None, pick.uniform(2, 5)], [pick.uniform(0, 5) for _ in range(3)]]
            ),
        }
        for number in range(count)
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    schema = {"token_count": pl.Int64, "fw_edu_scores": pl.List(pl.Float64), "dump": pl.String}
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(buffer, row_group_size=200)
    return buffer.getvalue()


def expected(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of `rows`, computed row by row."""
    scores = [[s for s in row["fw_edu_scores"] or [] if s is not None] for row in rows]
    means = [math.fsum(score) / len(score) for score in scores if score]
    return {
        "documents": len(rows),
        "tokens": sum(row["token_count"] or 0 for row in rows),
        "documents_without_token_count": sum(row["token_count"] is None for row in rows),
        "scored_documents": len(means),
        "documents_without_score": len(rows) - len(means),
        "mean_score": math.fsum(means) / len(means),
        "high_score_documents": sum(mean >= 3 for mean in means),
        "high_score_share": sum(mean >= 3 for mean in means) / len(means),
    }


ROWS = [documents(count, seed) for seed, count in enumerate([700, 10, 300])]
ALL = [row for rows in ROWS for row in rows]


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    folder = tmp_path / "pdfs"
    folder.mkdir()
    for number, rows in enumerate(ROWS):
        (folder / f"{number:05}.parquet").write_bytes(parquet(rows))
    return folder


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_figures_are_those_of_the_rows(script: Script, pdfs: Path) -> None:
    tables = figures(script(NAME, pdfs, "--json"))["tables"]
    assert tables["global"] == [pytest.approx(expected(ALL), rel=1e-9)]
    assert [row["dump"] for row in tables["per_dump"]] == [*DUMPS[:4], "other-dump", None]
    for row in tables["per_dump"]:
        of_dump = expected([r for r in ALL if r["dump"] == row["dump"]])
        assert {key: row[key] for key in of_dump} == pytest.approx(of_dump, rel=1e-9)
    assert [row["year"] for row in tables["per_year"]] == [2014, 2019, 2021, None]
    of_2014 = expected([r for r in ALL if (r["dump"] or "").startswith("CC-MAIN-2014")])
    assert {key: tables["per_year"][0][key] for key in of_2014} == pytest.approx(of_2014, rel=1e-9)


def test_a_year_is_weighted_by_documents_not_by_dumps(script: Script, tmp_path: Path) -> None:
    low = [{"dump": "CC-MAIN-2014-10", "token_count": 1, "fw_edu_scores": [1.0]}] * 9
    high = [{"dump": "CC-MAIN-2014-41", "token_count": 1, "fw_edu_scores": [5.0]}]
    (tmp_path / "d.parquet").write_bytes(parquet(low + high))
    year = figures(script(NAME, tmp_path / "d.parquet", "--json"))["tables"]["per_year"][0]
    assert (year["mean_score"], year["high_score_share"]) == (1.4, 0.1)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_formats_and_plain_scores(script: Script, tmp_path: Path, form: str) -> None:
    rows = [{"dump": "CC-MAIN-2020-05", "token_count": n, "fw_edu_scores": n / 2} for n in range(1, 9)]
    path = tmp_path / f"d.{form}"
    path.write_bytes(jsonl(rows) if form == "jsonl" else pl.DataFrame(rows).write_csv().encode())
    whole = figures(script(NAME, path, "--json"))["tables"]["global"][0]
    assert (whole["tokens"], whole["mean_score"], whole["high_score_share"]) == (36, 2.25, 0.375)


def test_limit_takes_rows_across_files_and_is_the_same_every_time(script: Script, pdfs: Path) -> None:
    first, second = (figures(script(NAME, pdfs, "--json", "--limit", "330"))["tables"] for _ in range(2))
    assert first == second
    taken = ROWS[0][:160] + ROWS[1] + ROWS[2][:160]
    assert first["global"] == [pytest.approx(expected(taken), rel=1e-9)]
    over = figures(script(NAME, pdfs, "--json", "--limit", "5000"))["tables"]
    assert over["global"][0]["documents"] == len(ALL)


def test_plan_is_that_of_the_query_that_runs(script: Script, pdfs: Path) -> None:
    done = script(NAME, pdfs, "--show-plan", "--limit", "330")
    assert "PROJECT 3/5 COLUMNS" in done.stdout
    assert "SLICE" in done.stdout
    assert "GLOBAL" in done.stdout
    with_json = script(NAME, pdfs, "--show-plan", "--json")
    assert json.loads(with_json.stdout)["status"] == "computed"
    assert "PROJECT 3/5 COLUMNS" in with_json.stderr


def test_folder_output_card_and_second_run(script: Script, pdfs: Path, tmp_path: Path) -> None:
    done = figures(script(NAME, pdfs, "./out", "--json"))
    out = tmp_path / "work" / "out"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "README.md",
        "data/global.parquet",
        "data/per_dump.parquet",
        "data/per_year.parquet",
        "jobshelf.json",
    ]
    for table, rows in done["tables"].items():
        assert pl.read_parquet(out / "data" / f"{table}.parquet").to_dicts() == rows
    card = (out / "README.md").read_text()
    assert "FinePDFs-Edu was filtered by this very score" in card
    assert done["identity"] in card
    assert "uv-script" in card
    assert "Hugging Face Job" not in card
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert figures(script(NAME, pdfs, "./out", "--json"))["status"] == "already there"
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


def test_a_changed_input_is_computed_again(script: Script, pdfs: Path, tmp_path: Path) -> None:
    figures(script(NAME, pdfs, "./out", "--json"))
    (pdfs / "00003.parquet").write_bytes(parquet(documents(5, 9)))
    again = figures(script(NAME, pdfs, "./out", "--json"))
    assert again["status"] == "written"
    assert pl.read_parquet(tmp_path / "work/out/data/global.parquet")["documents"].item() == len(ALL) + 5


def test_damaged_output_is_written_again(script: Script, pdfs: Path, tmp_path: Path) -> None:
    figures(script(NAME, pdfs, "./out", "--json"))
    (tmp_path / "work/out/data/global.parquet").write_bytes(b"damaged")
    assert figures(script(NAME, pdfs, "./out", "--json"))["status"] == "written"


def test_foreign_folder_and_other_request_are_refused(script: Script, pdfs: Path, tmp_path: Path) -> None:
    out = tmp_path / "work" / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    refused = script(NAME, pdfs, "./out")
    assert refused.returncode == 4
    assert "thesis.txt" in refused.stderr
    assert script(NAME, pdfs, "./out", "--overwrite").returncode == 0
    assert (out / "thesis.txt").read_text() == "mine"
    other = script(NAME, pdfs, "./out", "--limit", "5")
    assert other.returncode == 4
    assert "different: limit" in other.stderr


def test_killed_run_leaves_nothing_half_done(environment: dict[str, str], pdfs: Path, tmp_path: Path) -> None:
    argv = [sys.executable, CATALOG / NAME, pdfs, "./out", "--json"]
    for pause in (0.2, 0.5, 0.8):
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
        time.sleep(pause)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole = pl.read_parquet(tmp_path / "out/data/global.parquet").to_dicts()
    assert whole == [pytest.approx(expected(ALL), rel=1e-9)]


def test_dry_run_writes_nothing(script: Script, pdfs: Path, tmp_path: Path) -> None:
    done = figures(script(NAME, pdfs, "./out", "--dry-run", "--json"))
    assert (done["status"], done["tables"]) == ("dry run", None)
    assert list((tmp_path / "work").iterdir()) == []


def test_bare_output_is_refused_naming_both_forms(script: Script, pdfs: Path) -> None:
    done = script(NAME, pdfs, "out")
    assert done.returncode == 2
    assert "user/out for a Hub dataset or ./out for a local folder" in done.stderr


@pytest.mark.parametrize("given", ["a/b/c", "../", "user/na me", "user/..", "-x/y", "https://hub/x"])
def test_impossible_outputs_are_usage_errors(script: Script, pdfs: Path, given: str) -> None:
    done = script(NAME, "--output-repo=" + given, pdfs)
    assert done.returncode in ({0, 4} if given == "../" else {2})
    assert "Traceback" not in done.stderr


def test_missing_and_wrong_columns(script: Script, tmp_path: Path) -> None:
    rows = [{"dump_name": "a", "token_count": 1, "fw_edu_scores": [1.0]}]
    (tmp_path / "d.jsonl").write_bytes(jsonl(rows))
    done = script(NAME, tmp_path / "d.jsonl")
    assert done.returncode == 4
    assert "no column dump" in done.stderr
    assert "rename dump_name" in done.stderr
    (tmp_path / "e.jsonl").write_bytes(jsonl([{"dump": "a", "token_count": "many", "fw_edu_scores": [1.0]}]))
    wrong = script(NAME, tmp_path / "e.jsonl", "--dry-run")
    assert wrong.returncode == 4
    assert "token_count" in wrong.stderr


@pytest.mark.parametrize("data", [b"PAR1 nonsense", parquet([])])
def test_broken_and_empty_input(script: Script, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.parquet").write_bytes(data)
    done = script(NAME, tmp_path / "d.parquet")
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1


def test_files_that_differ_in_columns(script: Script, pdfs: Path) -> None:
    pl.DataFrame({"id": ["x"]}).write_parquet(pdfs / "00009.parquet")
    done = script(NAME, pdfs)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


def test_all_null_columns_give_no_mean(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl([{"dump": None, "token_count": None, "fw_edu_scores": None}] * 3))
    whole = figures(script(NAME, tmp_path / "d.jsonl", "--json"))["tables"]["global"][0]
    assert (whole["documents"], whole["scored_documents"], whole["mean_score"]) == (3, 0, None)
    assert "no score" in script(NAME, tmp_path / "d.jsonl").stdout


def test_runs_by_uv_from_stdin(environment: dict[str, str], pdfs: Path, tmp_path: Path) -> None:
    words = ["uv", "run", "--no-project", "-", str(pdfs), "./out", "--json"]
    text = (CATALOG / NAME).read_text(encoding="utf-8")
    done = subprocess.run(words, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert figures(done)["status"] == "written"
    assert "not known" in (tmp_path / "out/README.md").read_text()


# --- on the Hub ---


@pytest.fixture
def source(publish: Publish) -> str:
    files = {f"data/eng_Latn/train/{n:05}.parquet": parquet(rows) for n, rows in enumerate(ROWS)}
    files["data/cym_Latn/train/00000.parquet"] = parquet(ROWS[1])
    return publish("alice/pdfs", files | {"README.md": CARD})


def held(client: HfApi, repo: str, name: str) -> bytes:
    return Path(client.hf_hub_download(repo, name, repo_type="dataset", force_download=True)).read_bytes()


def test_seed_command_line_on_the_hub(
    script: Script, source: str, client: HfApi, hub: Hub, hub_environment: dict[str, str]
) -> None:
    hub.clear_journal()
    words = ("--source-dataset", "alice/pdfs", "--limit", "10000", "--show-plan", "--output-repo", "alice/stats")
    done = script(NAME, *words, env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert "PLAN" in done.stdout
    assert len([r for r in hub.journal() if r.method == "POST" and "/commit/" in r.path]) == 1
    whole = pl.read_parquet(io.BytesIO(held(client, "alice/stats", "data/global.parquet"))).to_dicts()
    assert whole == [pytest.approx(expected(ALL), rel=1e-9)]
    card = held(client, "alice/stats", "README.md").decode()
    assert source in card
    assert "config_name: per_dump" in card
    assert client.dataset_info("alice/stats").private is False
    assert TOKEN not in done.stdout + done.stderr + card + json.dumps([str(r) for r in hub.journal()])


def test_second_run_is_a_no_op(script: Script, source: str, client: HfApi, hub_environment: dict[str, str]) -> None:
    first = figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))
    head = client.dataset_info("alice/stats").sha
    assert first["output_commit"] == head
    second = figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))
    assert second["status"] == "already there"
    assert client.dataset_info("alice/stats").sha == head


def test_languages(script: Script, source: str, hub_environment: dict[str, str]) -> None:
    assert script(NAME, "alice/pdfs", "--list-languages", env=hub_environment).stdout == "eng_Latn\ncym_Latn\n"
    one = figures(script(NAME, "alice/pdfs", "--lang", "cym_Latn", "--json", env=hub_environment))
    assert one["tables"]["global"][0]["documents"] == len(ROWS[1])
    assert script(NAME, "alice/pdfs", "--lang", "xxx_Latn", env=hub_environment).returncode == 4


def test_printing_public_data_needs_no_token(script: Script, source: str, hub_environment: dict[str, str]) -> None:
    anonymous = {key: value for key, value in hub_environment.items() if key != "HF_TOKEN"}
    done = figures(script(NAME, "alice/pdfs", "--json", env=anonymous))
    assert done["commit"] == source
    assert done["tables"]["global"][0]["documents"] == len(ALL)


def test_private_in_private_out_unless_public(
    script: Script, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish("alice/secret", {"d.parquet": parquet(ROWS[1])}, private=True)
    assert script(NAME, "alice/secret", "alice/a", env=hub_environment).returncode == 0
    assert client.dataset_info("alice/a").private is True
    assert script(NAME, "alice/secret", "alice/b", "--public", env=hub_environment).returncode == 0
    assert client.dataset_info("alice/b").private is False
    refused = script(NAME, "alice/secret", "alice/b", "--limit", "3", "--overwrite", env=hub_environment)
    assert refused.returncode == 2
    assert "--public" in refused.stderr


def test_token_troubles_are_exit_3_before_anything_is_read(
    script: Script, source: str, hub: Hub, hub_environment: dict[str, str]
) -> None:
    hub.clear_journal()
    cases = {"": "no Hub token", READ_TOKEN: "can only read", "hf_no_such_token": "does not accept the token"}
    for token, said in cases.items():
        env = {key: value for key, value in hub_environment.items() if key != "HF_TOKEN"}
        done = script(NAME, "alice/pdfs", "alice/stats", env=env | ({"HF_TOKEN": token} if token else {}))
        assert done.returncode == 3
        assert said in done.stderr
        assert not token or token not in done.stdout + done.stderr
    in_job = script(NAME, "alice/pdfs", "alice/stats", env=env | {"JOB_ID": "1", "HF_TOKEN": ""})
    assert "--secrets HF_TOKEN" in in_job.stderr
    elsewhere = script(NAME, "alice/pdfs", "nobody/stats", env=hub_environment)
    assert elsewhere.returncode == 3
    assert "write to one of: alice, acme, jobshelf" in elsewhere.stderr
    assert {request.path.partition("?")[0] for request in hub.journal()} <= {"/api/whoami-v2", "/api/agent-harnesses"}


def test_missing_input_and_unreachable_hub(script: Script, hub_environment: dict[str, str], client: HfApi) -> None:
    assert script(NAME, "alice/nothing", "alice/stats", env=hub_environment).returncode == 4
    assert not client.repo_exists("alice/stats", repo_type="dataset")
    down = script(NAME, "alice/pdfs", "alice/stats", env=hub_environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert down.returncode == 5
    assert TOKEN not in down.stderr


def test_foreign_dataset_is_refused_and_front_matter_kept(
    script: Script, source: str, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish(
        "alice/theirs", {"rows.csv": b"a\n1\n", "README.md": b"---\nlicense: mit\ntags: [mine]\n---\n# Hand-written\n"}
    )
    refused = script(NAME, "alice/pdfs", "alice/theirs", env=hub_environment)
    assert refused.returncode == 4
    assert "rows.csv" in refused.stderr
    assert script(NAME, "alice/pdfs", "alice/theirs", "--overwrite", env=hub_environment).returncode == 0
    card = held(client, "alice/theirs", "README.md").decode()
    assert "license: mit" in card
    assert "- mine" in card
    assert "# Hand-written" in card
    assert "# Statistics of alice/pdfs" in card
    assert held(client, "alice/theirs", "rows.csv") == b"a\n1\n"


def test_dry_run_creates_nothing(script: Script, source: str, client: HfApi, hub_environment: dict[str, str]) -> None:
    assert script(NAME, "alice/pdfs", "alice/stats", "--dry-run", env=hub_environment).returncode == 0
    assert not client.repo_exists("alice/stats", repo_type="dataset")


def test_somebody_else_commits_in_between(
    script: Script, source: str, client: HfApi, hub: Hub, hub_environment: dict[str, str]
) -> None:
    hub.fail(method="POST", path=r"/api/datasets/alice/stats/commit/", status=412, times=1)
    done = script(NAME, "alice/pdfs", "alice/stats", env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert "changed while this was written" in done.stderr
    assert b"global" in held(client, "alice/stats", "jobshelf.json")


RACE = """
from huggingface_hub import HfApi
from jobshelf import blocks
persist = blocks.load("persist_file")
looks = []

def make_card(existing):
    looks.append(existing)
    if len(looks) == 1:  # somebody else is faster
        HfApi().upload_file(path_or_fileobj=b"Theirs", path_in_repo="README.md", repo_id="alice/r", repo_type="dataset")
    return f"{existing or ''} and ours"

target = persist.parse_target("alice/r")
token = persist.target_token(target)
held = persist.look_at(target, token=token, private=False, public=False)
persist.create_target(target, held, token)
run = persist.Run(script="x.py", request={}, source="c0ffee")
persist.persist_files(target, {"a.txt": b"a"}, run=run, overwrite=False, make_card=make_card, token=token)
print(len(looks))
"""


def test_no_update_of_somebody_else_is_lost(hub_environment: dict[str, str], client: HfApi) -> None:
    done = subprocess.run([sys.executable, "-c", RACE], env=hub_environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert held(client, "alice/r", "README.md") == b"Theirs and ours"


def test_what_cannot_be_pushed_is_saved_and_the_command_pushes_it(
    script: Script, source: str, client: HfApi, hub: Hub, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    hub.fail(method="POST", path=r"/api/datasets/alice/stats/commit/", status=500, times=5)
    done = script(NAME, "alice/pdfs", "alice/stats", env=hub_environment)
    assert done.returncode == 6, done.stderr
    command = done.stderr.rstrip().rpartition("Fix: ")[2]
    pushed = subprocess.run(command.split(), env=hub_environment, capture_output=True, text=True, timeout=120)
    assert pushed.returncode == 0, pushed.stderr
    whole = pl.read_parquet(io.BytesIO(held(client, "alice/stats", "data/global.parquet"))).to_dicts()
    assert whole == [pytest.approx(expected(ALL), rel=1e-9)]
    assert (
        figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))["status"] == "already there"
    )


def test_a_job_says_so_on_its_card(script: Script, pdfs: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    env = environment | {"JOB_ID": "6890", "ACCELERATOR": "none|*"}
    assert script(NAME, pdfs, "./out", env=env).returncode == 0
    assert r"a Hugging Face Job on none\|\*" in (tmp_path / "work/out/README.md").read_text()
