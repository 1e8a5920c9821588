"""finepdfs-stats.py as a user meets it: figures against DuckDB, real processes, kills, shards, the embedded Hub."""

from __future__ import annotations

import io
import json
import random
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from huggingface_hub import HfApi

from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub
from support import BIN

NAME = "finepdfs-stats.py"
KILLED = Path(__file__).with_name("stats_killed.py")
DUMPS = ("CC-MAIN-2014-10", "CC-MAIN-2014-41", "CC-MAIN-2019-30", "CC-MAIN-2021-04", None, "other-dump")
PERCENTS = (5, 25, 50, 75, 95)
CARD = b"""---
configs:
- config_name: eng_Latn
  data_files: [{split: train, path: data/eng_Latn/train/*.parquet}]
- config_name: cym_Latn
  data_files: [{split: train, path: data/cym_Latn/train/*.parquet}]
---
"""


def documents(count: int, seed: int) -> list[dict[str, Any]]:
    """Return rows of FinePDFs' schema with every kind of gap: nulls, empty and partly null lists, NaN, infinity, -1."""
    pick = random.Random(seed)
    return [
        {
            "id": f"{seed}-{number}",
            "text": "words " * 20,
            "dump": pick.choice(DUMPS),
            "token_count": pick.choice([None, -1, 7, *(pick.randrange(10, 10_000) for _ in range(9))]),
            "fw_edu_scores": pick.choice(
                [None, [], [None, pick.uniform(2, 5)], [float("nan")], [float("inf"), 1.0]]
                + [[pick.uniform(0, 5) for _ in range(3)] for _ in range(9)]
            ),
        }
        for number in range(count)
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    schema = {"token_count": pl.Int64, "fw_edu_scores": pl.List(pl.Float64), "dump": pl.String}
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(buffer, row_group_size=200)
    return buffer.getvalue()


def expected(rows: list[dict[str, Any]], *by: str) -> list[dict[str, Any]]:
    """Return the figures of `rows` as DuckDB computes them, one row for each value of `by`; its quantiles are exact."""
    kinds = {"dump": pl.String, "token_count": pl.Float64, "fw_edu_scores": pl.List(pl.Float64)}
    given = pl.DataFrame([{name: row[name] for name in kinds} for row in rows], schema=kinds).to_arrow()
    connection = duckdb.connect()
    connection.register("given", given)
    connection.sql("""
        create table rows as
        with one as (
          select dump, try_cast(nullif(regexp_extract(dump, 'CC-MAIN-([0-9]{4})', 1), '') as bigint) as year,
            token_count v0, list_avg(list_filter(fw_edu_scores, lambda x: x is not null)) s0 from given)
        select *, case when isfinite(v0) and v0 >= 0 then v0 end as v, case when isfinite(s0) then s0 end as s from one""")
    keys = "".join(f"{key}, " for key in by)
    ranks = "".join(
        f", quantile_disc({column}, {percent / 100}) as {name}_p{percent:02}"
        for column, name in (("v", "value"), ("s", "score"))
        for percent in PERCENTS
    )
    return (
        connection.sql(f"""
        select {keys} count(*) as rows,
          count(v) as with_value, count(*) - count(v0) as value_missing, count(v0) - count(v) as value_unusable,
          sum(v) as value_sum, avg(v) as value_mean,
          count(s) as with_score, count(*) - count(s0) as score_missing, count(s0) - count(s) as score_unusable,
          avg(s) as score_mean, sum(s * v) / sum(v) filter (s is not null) as score_mean_weighted,
          count(*) filter (s >= 3) as high_rows, count(*) filter (s >= 3) / nullif(count(s), 0) as high_share,
          sum(v) filter (s >= 3) / sum(v) filter (s is not null) as high_share_weighted {ranks}
        from rows {f"group by {keys[:-2]}" if by else ""} order by {keys} 1 nulls last""")
        .pl()
        .to_dicts()
    )


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    """Whether all figures are the same to 1e-9, quantiles to the bound that the card states."""
    assert [row.keys() for row in found] == [dict.fromkeys([*row]).keys() for row in found]
    assert [set(row) for row in found] == [set(row) for row in wanted]
    for one, other in zip(found, wanted, strict=True):
        for name, figure in other.items():
            bound = 0.002 if "_p" in name else 1e-9
            right = one[name] == figure if figure is None or isinstance(figure, str) else one[name] is not None
            assert right and (not isinstance(figure, float | int) or one[name] == pytest.approx(figure, rel=bound)), (
                name,
                one[name],
                figure,
            )
    return True


ROWS = [documents(count, seed) for seed, count in enumerate([700, 10, 300])]
ALL = [row for rows in ROWS for row in rows]


@pytest.fixture
def pdfs(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "pdfs", ROWS)


def folder_of(folder: Path, files: Sequence[list[dict[str, Any]]]) -> Path:
    folder.mkdir()
    for number, rows in enumerate(files):
        (folder / f"{number:05}.parquet").write_bytes(parquet(rows))
    return folder


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "Fix: " in last, done.stderr
    for text in said:
        assert text in last


# --- figures ---


def test_figures_are_those_of_duckdb(script: Script, pdfs: Path) -> None:
    tables = figures(script(NAME, pdfs, "--json"))["tables"]
    assert list(tables) == ["global", "per_year", "per_group"]
    assert same(tables["global"], expected(ALL))
    assert same(tables["per_year"], expected(ALL, "year"))
    assert same(tables["per_group"], expected(ALL, "year", "dump"))
    assert [row["dump"] for row in tables["per_group"]] == [*DUMPS[:4], "other-dump", None]


def test_a_year_is_weighted_by_rows_not_by_dumps_and_by_tokens_where_it_says_so(script: Script, tmp_path: Path) -> None:
    low = [{"dump": "CC-MAIN-2014-10", "token_count": 1, "fw_edu_scores": [1.0]}] * 9
    high = [{"dump": "CC-MAIN-2014-41", "token_count": 91, "fw_edu_scores": [5.0]}]
    (tmp_path / "d.parquet").write_bytes(parquet(low + high))
    year = figures(script(NAME, tmp_path / "d.parquet", "--json"))["tables"]["per_year"][0]
    assert (year["score_mean"], year["high_share"]) == (1.4, 0.1)
    assert (year["score_mean_weighted"], year["high_share_weighted"]) == (4.64, 0.91)


def test_quantiles_of_small_whole_numbers_are_exact(script: Script, tmp_path: Path) -> None:
    rows = [{"dump": "a", "token_count": n, "fw_edu_scores": None} for n in range(500)]
    (tmp_path / "d.parquet").write_bytes(parquet(rows))
    whole = figures(script(NAME, tmp_path / "d.parquet", "--json"))["tables"]["global"][0]
    assert {f"value_p{p:02}": whole[f"value_p{p:02}"] for p in PERCENTS} == {
        "value_p05": 24,
        "value_p25": 124,
        "value_p50": 249,
        "value_p75": 374,
        "value_p95": 474,
    }
    assert whole["score_mean"] is None and whole["score_p50"] is None


def test_small_and_large_numbers_add_up_to_the_last_digit(script: Script, tmp_path: Path) -> None:
    rows = [{"dump": "a", "token_count": n, "fw_edu_scores": [s]} for n, s in ((2**39, 1e5), (1, 1e-5), (0, -1e5))]
    (tmp_path / "d.parquet").write_bytes(parquet(rows))
    whole = figures(script(NAME, tmp_path / "d.parquet", "--json"))["tables"]["global"][0]
    assert whole["value_sum"] == 2**39 + 1
    assert whole["score_mean"] == pytest.approx(1e-5 / 3, rel=1e-9)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_formats_and_plain_scores(script: Script, tmp_path: Path, form: str) -> None:
    rows = [{"dump": "CC-MAIN-2020-05", "token_count": n, "fw_edu_scores": n / 2} for n in range(1, 9)]
    path = tmp_path / f"d.{form}"
    path.write_bytes(jsonl(rows) if form == "jsonl" else pl.DataFrame(rows).write_csv().encode())
    whole = figures(script(NAME, path, "--json"))["tables"]["global"][0]
    assert (whole["value_sum"], whole["score_mean"], whole["high_share"]) == (36, 2.25, 0.375)


def test_any_columns_with_any_names(script: Script, tmp_path: Path) -> None:
    rows = {"*": ["2019-05-01", "2019-06-01", "$x$ 😀\n|`", None], '^a"$': [1, 2, 3, 4], "rows": [0.5, 1.5, 2.5, 3.5]}
    pl.DataFrame(rows).write_parquet(tmp_path / "d.parquet")
    words = ("--group-by", "*", "--value", '^a"$', "--score", "rows")
    tables = figures(script(NAME, tmp_path / "d.parquet", "./out", *words, "--json"))["tables"]
    assert [(row["*"], row["year"], row["value_sum"], row["score_mean"]) for row in tables["per_group"]] == [
        ("2019-05-01", 2019, 1, 0.5),
        ("2019-06-01", 2019, 2, 1.5),
        ("$x$ 😀\n|`", None, 3, 2.5),
        (None, None, 4, 3.5),
    ]
    assert "high_rows" not in tables["global"][0]
    card = (tmp_path / "work/out/README.md").read_text()
    assert "FinePDFs" not in card
    assert r"the column ^a\"$" in card or '^a"\\$' in card
    by_number = figures(script(NAME, tmp_path / "d.parquet", "--group-by", "rows", "--high", "2", "--json"))["tables"]
    assert [row["by_rows"] for row in by_number["per_group"]] == ["0.5", "1.5", "2.5", "3.5"]
    assert set(by_number["global"][0]) == {"rows"}


def test_columns_are_asked_for_together(script: Script, pdfs: Path) -> None:
    assert script(NAME, pdfs, "--value", "token_count").returncode == 2
    assert script(NAME, pdfs, "--all-languages", "--config", "x").returncode == 2
    assert script(NAME, pdfs, "--shard", "1/2").returncode == 2
    refused(script(NAME, pdfs, "./out", "--shard", "3/2"), 2, "--shard 1/8")


def test_limit_takes_rows_across_files_and_is_the_same_every_time(script: Script, pdfs: Path) -> None:
    first, second = (figures(script(NAME, pdfs, "--json", "--limit", "330"))["tables"] for _ in range(2))
    assert first == second
    # from the beginning of the first file, all of the second, up to the end of the last
    assert same(first["global"], expected(ROWS[0][:160] + ROWS[1] + ROWS[2][-160:]))
    over = figures(script(NAME, pdfs, "--json", "--limit", "5000"))["tables"]
    assert over["global"][0]["rows"] == len(ALL)


def test_plan_is_that_of_the_query_that_runs(script: Script, pdfs: Path) -> None:
    done = script(NAME, pdfs, "--show-plan", "--limit", "330")
    assert "PLAN for 3 of 3 files" in done.stdout
    assert "PROJECT 3/5 COLUMNS" in done.stdout
    assert "SLICE" in done.stdout
    assert "GLOBAL" in done.stdout
    with_json = script(NAME, pdfs, "--show-plan", "--json")
    assert json.loads(with_json.stdout)["status"] == "computed"
    assert "PROJECT 3/5 COLUMNS" in with_json.stderr


# --- a folder as output ---


def test_folder_output_card_and_second_run(script: Script, pdfs: Path, tmp_path: Path) -> None:
    done = figures(script(NAME, pdfs, "./out", "--json"))
    out = tmp_path / "work" / "out"
    assert sorted(files_in(out)) == [
        "README.md",
        "data/global.parquet",
        "data/per_group.parquet",
        "data/per_year.parquet",
        "jobshelf.json",
        "plots/per_year.png",
        "plots/per_year.svg",
    ]
    for table, rows in done["tables"].items():
        assert pl.read_parquet(out / "data" / f"{table}.parquet").to_dicts() == rows
    assert (out / "plots/per_year.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (out / "plots/per_year.svg").read_bytes()
    card = (out / "README.md").read_text()
    assert "FinePDFs-Edu was filtered by this very score" in card
    assert "within 0.2 %" in card
    assert "(plots/per_year.png)" in card
    whole = expected(ALL)[0]
    assert f"{whole['score_missing']:,} rows have no score and {whole['score_unusable']:,} have one that is not" in card
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
    assert pl.read_parquet(tmp_path / "work/out/data/global.parquet")["rows"].item() == len(ALL) + 5


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


# --- killed, sharded, run again ---


@pytest.mark.heavy
@pytest.mark.data
def test_killed_at_any_touch_of_the_folder_it_leaves_what_an_unbroken_run_leaves(
    environment: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pdfs = folder_of(tmp_path / "pdfs", [documents(5, seed) for seed in range(17)])  # three queries
    argv = [sys.executable, KILLED, pdfs, tmp_path / "out", "4"]
    more = {"PYTHONPATH": str(KILLED.parents[1])}
    done = subprocess.run(argv, env=environment | more, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert len(found["files"]) == 7
    assert found["kills"] >= 12
    kills = found["kills"]
    record_property("figure", f"finepdfs-stats to a folder: killed at {kills} points, the same bytes after each")


def test_a_restart_reads_only_what_is_not_added_up_yet(
    source_of_17: str, hub: Hub, hub_environment: dict[str, str], tmp_path: Path, client: HfApi
) -> None:
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--commit-every", "0", "--json"]
    fault = hub.fail(method="HEAD", path=r"00016\.parquet", kind="delay", seconds=30)
    process = subprocess.Popen(argv, cwd=tmp_path, env=hub_environment, stdout=subprocess.DEVNULL)
    while not fault.struck:
        assert process.poll() is None
    process.kill()
    process.wait()
    hub.clear_faults()
    hub.clear_journal()
    again = subprocess.run(argv, cwd=tmp_path, env=hub_environment, capture_output=True, text=True, timeout=120)
    whole = figures(again)["tables"]["global"]
    assert same(whole, expected([row for seed in range(17) for row in documents(5, seed)]))
    read = {request.path for request in hub.journal() if ".parquet" in request.path and "/many/" in request.path}
    assert {path.rpartition("/")[2][:5] for path in read} == {"00000", "00016"}  # the first for its columns
    assert [item.path for item in client.list_bucket_tree("alice/stats-parts", recursive=True)] == []


@pytest.fixture
def source_of_17(publish: Publish) -> str:
    return publish("alice/many", {f"train/{n:05}.parquet": parquet(documents(5, n)) for n in range(17)})


def test_a_restart_goes_on_with_the_revision_it_was_begun_with(
    script: Script, source_of_17: str, publish: Publish, hub_environment: dict[str, str], client: HfApi
) -> None:
    first = script(NAME, "alice/many", "alice/stats", "--shard", "1/2", "--json", env=hub_environment)
    assert figures(first)["status"] == "shard done"
    publish("alice/many", {"train/00016.parquet": parquet(documents(9, 99))})
    second = script(NAME, "alice/many", "alice/stats", "--shard", "2/2", "--json", env=hub_environment)
    assert "has changed since this was begun" in second.stderr
    done = figures(second)
    assert (done["status"], done["commit"]) == ("written", source_of_17)
    assert same(done["tables"]["global"], expected([row for seed in range(17) for row in documents(5, seed)]))


def test_shards_make_the_same_bytes_whoever_is_last_and_one_may_end_for_another(
    script: Script, environment: dict[str, str], tmp_path: Path
) -> None:
    pdfs = folder_of(tmp_path / "pdfs", [documents(40, seed) for seed in range(7)])
    figures(script(NAME, pdfs, "./out", "--json"))
    whole = files_in(tmp_path / "work/out")
    orders = {"a": ("2/2", "1/2"), "b": ("5/9", None)}

    def scenario(name: str) -> dict[str, bytes]:
        cwd = tmp_path / name
        cwd.mkdir()
        for shard in orders[name]:
            argv = [sys.executable, CATALOG / NAME, pdfs, "./out", "--json", *(("--shard", shard) if shard else ())]
            done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
            assert figures(done)["status"] == ("written" if shard == orders[name][-1] else "shard done")
        return files_in(cwd / "out")

    with ThreadPoolExecutor(2) as pool:
        for name, found in zip(orders, pool.map(scenario, orders), strict=True):
            assert found == whole, name


def test_shards_at_once_on_the_hub(
    source_of_17: str, hub_environment: dict[str, str], tmp_path: Path, client: HfApi, hub: Hub
) -> None:
    hub.clear_journal()
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--json"]
    started = [
        subprocess.Popen(
            [*argv, "--shard", f"{n}/3"], cwd=tmp_path, env=hub_environment, stdout=subprocess.PIPE, text=True
        )
        for n in (1, 2, 3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert "written" in {json.loads(output)["status"] for output in outputs}
    found = pl.read_parquet(io.BytesIO(held(client, "alice/stats", "data/global.parquet"))).to_dicts()
    assert same(found, expected([row for seed in range(17) for row in documents(5, seed)]))
    assert len([r for r in hub.journal() if r.wrote and "/datasets/alice/stats/commit/" in r.path]) == 1


def test_a_shard_that_cannot_hand_in_its_work_keeps_it_and_the_command_hands_it_in(
    script: Script, source_of_17: str, hub: Hub, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    words = (NAME, "alice/many", "alice/stats", "--json", "--shard")
    hub.fail(method="POST", path="/api/buckets/alice/stats-parts/batch", status=403, nth=2)
    done = script(*words, "1/2", env=hub_environment)
    assert done.returncode == 6
    command = re.search(r"Fix: (hf cp .*)", done.stderr)
    assert command, done.stderr
    subprocess.run([BIN / "hf", *shlex.split(command[1])[1:]], env=hub_environment, check=True, capture_output=True)
    other = script(*words, "2/2", env=hub_environment)
    assert figures(other)["status"] == "written"
    assert same(figures(other)["tables"]["global"], expected([row for seed in range(17) for row in documents(5, seed)]))


def test_damaged_unfinished_work_is_done_again(script: Script, tmp_path: Path) -> None:
    pdfs = folder_of(tmp_path / "pdfs", [documents(5, seed) for seed in range(4)])
    assert figures(script(NAME, pdfs, "./out", "--shard", "1/2", "--json"))["status"] == "shard done"
    (part,) = (tmp_path / "work/out/.parts").rglob("*.parquet")
    part.write_bytes(b"PAR1 damaged")
    done = script(NAME, pdfs, "./out", "--json")
    assert "is damaged" in done.stderr
    assert same(figures(done)["tables"]["global"], expected([row for seed in range(4) for row in documents(5, seed)]))
    assert not (tmp_path / "work/out/.parts").exists()


def test_stopped_by_the_machine_it_keeps_what_is_added_up(
    source_of_17: str, hub: Hub, hub_environment: dict[str, str], tmp_path: Path, client: HfApi
) -> None:
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--json"]
    fault = hub.fail(method="HEAD", path=r"00016\.parquet", kind="delay", seconds=3)
    process = subprocess.Popen(argv, cwd=tmp_path, env=hub_environment, stdout=subprocess.DEVNULL)
    while not fault.struck:
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == 143
    kept = [item.path for item in client.list_bucket_tree("alice/stats-parts", recursive=True)]
    assert [path.rpartition("/")[2] for path in kept if path.endswith(".parquet")] == ["00000-of-00001.parquet"]


# --- bad input ---


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


def test_missing_columns_are_named_with_the_likely_ones(script: Script, tmp_path: Path) -> None:
    rows = [{"dump_name": "a", "token_count": 1, "fw_edu_scores": [1.0]}]
    (tmp_path / "d.jsonl").write_bytes(jsonl(rows))
    refused(script(NAME, tmp_path / "d.jsonl"), 4, "no column dump", "did you mean dump_name", "--group-by")
    many = pl.DataFrame({f"c{n}": [1] for n in range(5000)})
    many.write_parquet(tmp_path / "many.parquet")
    refused(script(NAME, tmp_path / "many.parquet"), 4, "and 4980 more")
    refused(script(NAME, tmp_path / "many.parquet", "--group-by", "c7", "--value", 'x\n😀"'), 4, "no column x 😀")


@pytest.mark.parametrize(
    ("name", "column", "expected_kind"),
    [
        ("token_count", ["many"], "numbers"),
        ("fw_edu_scores", [["good"]], "lists of numbers"),
        ("fw_edu_scores", [[[1.0]]], "lists of numbers"),
        ("token_count", [{"n": 1}], "numbers"),
        ("dump", [["a"]], "text"),
    ],
)
def test_columns_of_a_type_that_has_no_such_figures(
    script: Script, tmp_path: Path, name: str, column: list[Any], expected_kind: str
) -> None:
    row = {"dump": ["a"], "token_count": [1], "fw_edu_scores": [[1.0]]} | {name: column}
    pl.DataFrame(row).write_parquet(tmp_path / "d.parquet")
    refused(script(NAME, tmp_path / "d.parquet", "--dry-run"), 4, f"the column {name}", expected_kind)


@pytest.mark.parametrize("data", [b"PAR1 nonsense", b"", parquet([]), parquet(ROWS[1])[:-9]])
def test_broken_and_empty_input(script: Script, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.parquet").write_bytes(data)
    done = script(NAME, tmp_path / "d.parquet")
    refused(done, 4)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("data", [b"PAR1 nonsense", parquet(ROWS[1])[:-9]])
def test_a_file_that_is_at_fault_is_named(script: Script, pdfs: Path, data: bytes) -> None:
    (pdfs / "00002.parquet").write_bytes(data)
    refused(script(NAME, pdfs), 4, "00002.parquet")
    refused(script(NAME, pdfs, "--limit", "5"), 4)


def test_files_that_differ_in_columns(script: Script, pdfs: Path) -> None:
    pl.DataFrame({"id": ["x"]}).write_parquet(pdfs / "00009.parquet")
    refused(script(NAME, pdfs), 4, "00009.parquet")


def test_files_that_differ_in_the_width_of_numbers_add_up(script: Script, pdfs: Path) -> None:
    kinds = {"token_count": pl.Int32, "fw_edu_scores": pl.List(pl.Float32), "dump": pl.Categorical}
    row = {"fw_edu_scores": [[4.0]], "token_count": [1000], "dump": ["CC-MAIN-2014-10"]}
    pl.DataFrame(row, schema_overrides=kinds).write_parquet(pdfs / "00009.parquet")
    last = {"dump": "CC-MAIN-2014-10", "token_count": 1000, "fw_edu_scores": [4.0]}
    assert same(figures(script(NAME, pdfs, "--json"))["tables"]["global"], expected([*ALL, last]))


def test_nothing_but_nulls_gives_no_mean(script: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl([{"dump": None, "token_count": None, "fw_edu_scores": None}] * 3))
    done = figures(script(NAME, tmp_path / "d.jsonl", "./out", "--json"))["tables"]
    whole = done["global"][0]
    assert (whole["rows"], whole["with_score"], whole["score_mean"], whole["value_sum"]) == (3, 0, None, 0)
    assert "per_year" not in done
    assert (tmp_path / "work/out/plots/per_group.png").exists()
    assert "none" in script(NAME, tmp_path / "d.jsonl").stdout


def test_too_many_groups_stop_before_the_memory_does(script: Script, tmp_path: Path) -> None:
    pl.DataFrame({"id": range(3_000_001), "n": 1}).write_parquet(tmp_path / "d.parquet")
    refused(script(NAME, tmp_path / "d.parquet", "--group-by", "id", "--value", "n"), 4, "3,000,001 groups")


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
    assert same(whole, expected(ALL))
    card = held(client, "alice/stats", "README.md").decode()
    assert source in card
    assert "config_name: per_group" in card
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
    assert one["tables"]["global"][0]["rows"] == len(ROWS[1])
    assert script(NAME, "alice/pdfs", "--lang", "xxx_Latn", env=hub_environment).returncode == 4


def test_all_languages_have_a_table_of_their_own(
    script: Script, source: str, hub_environment: dict[str, str], client: HfApi, hub: Hub
) -> None:
    hub.clear_journal()
    done = figures(script(NAME, "alice/pdfs", "alice/stats", "--all-languages", "--json", env=hub_environment))
    by_language = {row["language"]: row["rows"] for row in done["tables"]["per_language"]}
    assert by_language == {"cym_Latn": len(ROWS[1]), "eng_Latn": len(ALL)}
    assert same(done["tables"]["global"], expected([*ALL, *ROWS[1]]))
    asked = [request.path for request in hub.journal() if request.path.startswith("/api/datasets/alice/pdfs")]
    assert len(asked) == 1, "FinePDFs has 1,700 languages: one call for all of them"
    assert "By config" in held(client, "alice/stats", "README.md").decode()


def test_only_the_needed_columns_are_fetched(
    script: Script, publish: Publish, hub: Hub, hub_environment: dict[str, str]
) -> None:
    noise = random.Random(0)
    rows = [row | {"text": noise.randbytes(4000).hex()} for row in documents(3000, 1)]
    data = parquet(rows)
    publish("alice/long", {"d.parquet": data})
    hub.clear_journal()
    assert same(figures(script(NAME, "alice/long", "--json", env=hub_environment))["tables"]["global"], expected(rows))
    assert sum(request.bytes_out for request in hub.journal()) < len(data) / 2


@pytest.mark.parametrize("status", [429, 500])
def test_a_hub_that_is_busy_for_a_while_changes_nothing(
    script: Script, publish: Publish, hub: Hub, hub_environment: dict[str, str], status: int
) -> None:
    publish("alice/large", {"d.parquet": LARGE})
    hub.fail(method="HEAD", path=r"d\.parquet", status=status, times=2, headers={"Retry-After": "0"})
    hub.fail(method="GET", path=r"d\.parquet", status=status, times=3)
    done = figures(script(NAME, "alice/large", "--json", env=hub_environment))
    assert same(done["tables"]["global"], expected(LARGE_ROWS))


def test_a_hub_that_stays_busy_is_exit_5(
    script: Script, publish: Publish, hub: Hub, hub_environment: dict[str, str]
) -> None:
    publish("alice/large", {"d.parquet": LARGE})
    hub.fail(method="HEAD", path=r"d\.parquet", status=429, times=100, headers={"Retry-After": "0"})
    refused(script(NAME, "alice/large", env=hub_environment), 5, "429")


LARGE_ROWS = [row | {"text": random.Random(row["id"]).randbytes(40_000).hex()} for row in documents(200, 3)]
LARGE = parquet(LARGE_ROWS)


def test_printing_public_data_needs_no_token(script: Script, source: str, hub_environment: dict[str, str]) -> None:
    anonymous = {key: value for key, value in hub_environment.items() if key != "HF_TOKEN"}
    done = figures(script(NAME, "alice/pdfs", "--json", env=anonymous))
    assert done["commit"] == source
    assert done["tables"]["global"][0]["rows"] == len(ALL)


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
    assert same(whole, expected(ALL))
    assert (
        figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))["status"] == "already there"
    )


def test_a_job_says_so_on_its_card(script: Script, pdfs: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    env = environment | {"JOB_ID": "6890", "ACCELERATOR": "none|*"}
    assert script(NAME, pdfs, "./out", env=env).returncode == 0
    assert r"a Hugging Face Job on none\|\*" in (tmp_path / "work/out/README.md").read_text()
