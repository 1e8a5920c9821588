"""finepdfs-stats.py as a user meets it: figures against DuckDB, real processes, kills, shards, the embedded Hub."""

from __future__ import annotations

import gzip
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


def test_figures_are_those_of_duckdb(main: Script, pdfs: Path) -> None:
    tables = figures(main(NAME, pdfs, "--json"))["tables"]
    assert list(tables) == ["global", "per_year", "per_group"]
    assert same(tables["global"], expected(ALL))
    assert same(tables["per_year"], expected(ALL, "year"))
    assert same(tables["per_group"], expected(ALL, "year", "dump"))
    assert [row["dump"] for row in tables["per_group"]] == [*DUMPS[:4], "other-dump", None]


def test_a_year_is_weighted_by_rows_not_by_dumps_and_by_tokens_where_it_says_so(main: Script, tmp_path: Path) -> None:
    low = [{"dump": "CC-MAIN-2014-10", "token_count": 1, "fw_edu_scores": [1.0]}] * 9
    high = [{"dump": "CC-MAIN-2014-41", "token_count": 91, "fw_edu_scores": [5.0]}]
    (tmp_path / "d.parquet").write_bytes(parquet(low + high))
    year = figures(main(NAME, tmp_path / "d.parquet", "--json"))["tables"]["per_year"][0]
    assert (year["score_mean"], year["high_share"]) == (1.4, 0.1)
    assert (year["score_mean_weighted"], year["high_share_weighted"]) == (4.64, 0.91)


def test_quantiles_of_small_whole_numbers_are_exact(main: Script, tmp_path: Path) -> None:
    rows = [{"dump": "a", "token_count": n, "fw_edu_scores": None} for n in range(500)]
    (tmp_path / "d.parquet").write_bytes(parquet(rows))
    whole = figures(main(NAME, tmp_path / "d.parquet", "--json"))["tables"]["global"][0]
    assert {f"value_p{p:02}": whole[f"value_p{p:02}"] for p in PERCENTS} == {
        "value_p05": 24,
        "value_p25": 124,
        "value_p50": 249,
        "value_p75": 374,
        "value_p95": 474,
    }
    assert whole["score_mean"] is None and whole["score_p50"] is None


def test_small_and_large_numbers_add_up_to_the_last_digit(main: Script, tmp_path: Path) -> None:
    rows = [{"dump": "a", "token_count": n, "fw_edu_scores": [s]} for n, s in ((2**39, 1e5), (1, 1e-5), (0, -1e5))]
    (tmp_path / "d.parquet").write_bytes(parquet(rows))
    whole = figures(main(NAME, tmp_path / "d.parquet", "--json"))["tables"]["global"][0]
    assert whole["value_sum"] == 2**39 + 1
    assert whole["score_mean"] == pytest.approx(1e-5 / 3, rel=1e-9)


def test_any_columns_with_any_names(main: Script, tmp_path: Path) -> None:
    rows = {"*": ["2019-05-01", "2019-06-01", "$x$ 😀\n|`", None], '^a"\n$': [1, 2, 3, 4], "rows": [0.5, 1.5, 2.5, 3.5]}
    pl.DataFrame(rows).write_parquet(tmp_path / "d.parquet")
    words = ("--group-by", "*", "--value", '^a"\n$', "--score", "rows")
    tables = figures(main(NAME, tmp_path / "d.parquet", "./out", *words, "--json"))["tables"]
    assert [(row["*"], row["year"], row["value_sum"], row["score_mean"]) for row in tables["per_group"]] == [
        ("2019-05-01", 2019, 1, 0.5),
        ("2019-06-01", 2019, 2, 1.5),
        ("$x$ 😀\n|`", None, 3, 2.5),
        (None, None, 4, 3.5),
    ]
    assert "high_rows" not in tables["global"][0]
    card = (tmp_path / "work/out/README.md").read_text()
    assert "FinePDFs" not in card
    assert '`value` is the column ^a" \\$. 0 rows have none' in card
    by_number = main(NAME, tmp_path / "d.parquet", "--group-by", "rows", "--high", "2", "--json")
    assert [row["by_rows"] for row in figures(by_number)["tables"]["per_group"]] == ["0.5", "1.5", "2.5", "3.5"]
    assert set(figures(by_number)["tables"]["global"][0]) == {"rows"}
    printed = main(NAME, tmp_path / "d.parquet", "--group-by", "*")
    assert r"| \$x\$ 😀 \|\` |" in printed.stdout


def test_columns_are_asked_for_together(main: Script, pdfs: Path) -> None:
    assert main(NAME, pdfs, "--value", "token_count").returncode == 2
    assert main(NAME, pdfs, "--shard", "1/2").returncode == 2
    assert "a share such as 1/8" in main(NAME, pdfs, "./out", "--shard", "3/2").stderr


def test_limit_takes_the_beginnings_of_evenly_spaced_files(main: Script, pdfs: Path, tmp_path: Path) -> None:
    first, second = (figures(main(NAME, pdfs, "--json", "--limit", "330"))["tables"] for _ in range(2))
    assert first == second
    assert same(first["global"], expected(ROWS[0][:110] + ROWS[1] + ROWS[2][:110]))
    over = figures(main(NAME, pdfs, "--json", "--limit", "5000"))["tables"]
    assert over["global"][0]["rows"] == len(ALL)
    many = folder_of(tmp_path / "many", [[row] * 3 for row in documents(70, 5)])
    spaced = figures(main(NAME, many, "--json", "--limit", "70"))["tables"]
    assert same(spaced["global"], expected([row for row in documents(70, 5)[::3] for _ in range(2)]))


def test_plan_is_that_of_the_query_that_runs(main: Script, pdfs: Path) -> None:
    done = main(NAME, pdfs, "--show-plan", "--limit", "330")
    assert "PLAN for 3 files" in done.stdout
    assert "PROJECT 3/5 COLUMNS" in done.stdout
    assert "SLICE" in done.stdout
    assert "GLOBAL" in done.stdout
    with_json = main(NAME, pdfs, "--show-plan", "--json")
    assert json.loads(with_json.stdout)["status"] == "computed"
    assert "PROJECT 3/5 COLUMNS" in with_json.stderr


# --- text files ---

PLAIN = [{"g": "a", "v": n, "s": n / 2} for n in range(1, 9)]
BY = ("--group-by", "g", "--value", "v", "--score", "s", "--json")


def text_in(form: str, rows: list[dict[str, Any]]) -> bytes:
    if form.startswith("jsonl"):
        return jsonl(rows)
    separator = {"csv": ",", "tsv": "\t", "semicolon": ";"}[form.partition(".")[0]]
    return pl.DataFrame(rows, infer_schema_length=None).write_csv(separator=separator).encode()


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "jsonl.gz", "csv.gz", "jsonl.zst", "tsv.zst", "semicolon.csv"])
def test_text_is_read_as_meant(main: Script, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"d.{form}"
    data = text_in(form, PLAIN)
    if form.endswith(".zst"):
        plain = tmp_path / "plain"
        plain.write_bytes(data)
        subprocess.run(["zstd", "-q", plain, "-o", path], check=True)
    else:
        path.write_bytes(gzip.compress(data) if form.endswith(".gz") else data)
    whole = figures(main(NAME, path, *BY))["tables"]["global"][0]
    assert (whole["value_sum"], whole["score_mean"], whole["score_p50"]) == (36, 2.25, 2)


def test_a_byte_order_mark_and_quoted_separators_in_csv(main: Script, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes('\ufeffg,v,s\r\n"a;, b",1,"[1.0, 2.0]"\r\n007,,4\r\n'.encode())
    rows = figures(main(NAME, tmp_path / "d.csv", *BY))["tables"]["per_group"]
    found = [(row["g"], row["value_sum"], row["value_missing"], row["score_mean"]) for row in rows]
    assert found == [("007", 0, 1, 4), ("a;, b", 1, 0, 1.5)]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_type_that_shows_late(main: Script, tmp_path: Path, form: str) -> None:
    late = [{"g": 7, "v": 151.5, "s": 1}, {"g": "x", "v": 2**70, "s": 1}, {"g": "x", "v": "n/a", "s": 1}]
    rows = [{"g": 7, "v": 1, "s": 1}] * 20_000 + late
    data = (
        jsonl(rows)
        if form == "jsonl"
        else b"g,v,s\n" + b"".join(b"%b,%b,1\n" % (str(r["g"]).encode(), str(r["v"]).encode()) for r in rows)
    )
    (tmp_path / f"d.{form}").write_bytes(data)
    whole = figures(main(NAME, tmp_path / f"d.{form}", *BY))["tables"]["global"][0]
    assert (whole["rows"], whole["with_value"], whole["value_unusable"]) == (20_003, 20_001, 2)
    assert whole["value_sum"] == 20_151.5


def test_a_column_that_begins_after_row_10_000(main: Script, tmp_path: Path) -> None:
    rows = [{"g": "a", "v": 1}] * 12_000 + [{"g": "a", "v": 1, "s": [1.0, None, 3.0]}, {"g": "a", "v": 1, "s": 4}]
    (tmp_path / "d.jsonl").write_bytes(jsonl(rows))
    whole = figures(main(NAME, tmp_path / "d.jsonl", *BY))["tables"]["global"][0]
    assert (whole["with_score"], whole["score_missing"], whole["score_mean"]) == (2, 12_000, 3)


ODD = [
    "part [1]",
    "p*",
    "q?",
    "100%25",
    "a#b",
    "file:x",
    "~t",
    "$HOME",
    "{a,b}",
    "é 😀",
    " s",
    "x\ny",
    "b\\c",
    "!x",
    "a&b;c",
    "a?b=c",
]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", ODD)
def test_a_file_name_means_that_file(main: Script, tmp_path: Path, name: str, form: str) -> None:
    def write(stem: str, row: dict[str, Any]) -> None:
        data = (
            pl.DataFrame([row]).write_parquet
            if form == "parquet"
            else (lambda path: path.write_bytes(text_in(form, [row])))
        )
        data(tmp_path / "work" / f"{stem}.{form}")

    for other in ("part 1", "part [2]", "pa", "qa", "100%", "a", "x", "other"):
        write(other, {"g": "wrong", "v": 1, "s": 1})
    write(name, {"g": "right", "v": 1, "s": 1})
    tables = figures(main(NAME, f"{name}.{form}", *BY))["tables"]
    assert [row["g"] for row in tables["per_group"]] == ["right"]


def test_a_name_that_datasets_takes_for_a_pattern_is_refused(main: Script, tmp_path: Path) -> None:
    for folder in ("d [1]", "d 1"):
        folder_of(tmp_path / folder, [ROWS[1]])
    refused(main(NAME, tmp_path / "d [1]"), 4, "takes the name for a pattern or an address")
    (tmp_path / "work/x::y.jsonl").write_bytes(jsonl(PLAIN))
    refused(main(NAME, "x::y.jsonl", *BY), 4, "takes the name for a pattern or an address")


# --- a folder as output ---

PARTS = ["data/parts/00000-of-00001.parquet"]
RESULT = ["README.md", "data/global.parquet", "data/per_group.parquet", "data/per_year.parquet", "run.json"]


def test_folder_output_card_and_second_run(main: Script, pdfs: Path, tmp_path: Path) -> None:
    done = figures(main(NAME, pdfs, "./out", "--json"))
    out = tmp_path / "work" / "out"
    assert sorted(files_in(out)) == sorted([*RESULT, *PARTS])
    for table, rows in done["tables"].items():
        assert pl.read_parquet(out / "data" / f"{table}.parquet").to_dicts() == rows
    card = (out / "README.md").read_text()
    assert "FinePDFs-Edu was filtered by this very score" in card
    assert "within 0.2 %" in card
    whole = expected(ALL)[0]
    assert (
        f"{whole['score_missing']:,} rows have none, and {whole['score_unusable']:,} have one that is no number" in card
    )
    assert done["commit"] in card
    assert "uv-script" in card
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = figures(main(NAME, pdfs, "./out", "--json"))
    assert (again["status"], again["tables"]) == ("already there", done["tables"])
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_a_changed_input_is_refused_or_computed_again(main: Script, pdfs: Path, tmp_path: Path) -> None:
    figures(main(NAME, pdfs, "./out", "--json"))
    (pdfs / "00003.parquet").write_bytes(parquet(documents(5, 9)))
    refused(main(NAME, pdfs, "./out", "--json"), 4, "input differ")
    again = figures(main(NAME, pdfs, "./out", "--json", "--overwrite"))
    assert again["status"] == "written"
    assert pl.read_parquet(tmp_path / "work/out/data/global.parquet")["rows"].item() == len(ALL) + 5


def test_keep_goes_on_with_the_parts_and_names_both_inputs(main: Script, pdfs: Path, tmp_path: Path) -> None:
    words = (NAME, pdfs, "./out", "--json", "--part-files", "1")
    first = figures(main(*words))
    (pdfs / "00002.parquet").write_bytes(parquet(documents(5, 9)))
    (tmp_path / "work/out/data/parts/00002-of-00003.parquet").unlink()
    kept = figures(main(*words, "--keep"))
    assert kept["status"] == "written"
    assert same(kept["tables"]["global"], expected(ROWS[0] + ROWS[1] + documents(5, 9)))
    assert pl.read_parquet(tmp_path / "work/out/data/global.parquet").to_dicts() == kept["tables"]["global"]
    card = (tmp_path / "work/out/README.md").read_text()
    assert first["commit"] in card and kept["commit"] in card


def test_damaged_output_is_named(main: Script, pdfs: Path, tmp_path: Path) -> None:
    figures(main(NAME, pdfs, "./out", "--json"))
    (tmp_path / "work/out" / PARTS[0]).write_bytes(b"damaged")
    refused(main(NAME, pdfs, "./out", "--json"), 4, "00000-of-00001.parquet is not readable")


def test_foreign_folder_and_other_request_are_refused(main: Script, pdfs: Path, tmp_path: Path) -> None:
    out = tmp_path / "work" / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    refused(main(NAME, pdfs, "./out"), 4, "files of another origin", "--overwrite")
    assert main(NAME, pdfs, "./out", "--overwrite").returncode == 0
    assert (out / "thesis.txt").read_text() == "mine"
    refused(main(NAME, pdfs, "./out", "--limit", "5"), 4, "arguments differ")


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
    assert len(found["files"]) == 8
    assert found["kills"] >= 8
    kills = found["kills"]
    record_property("figure", f"finepdfs-stats to a folder: killed at {kills} points, the same bytes after each")


@pytest.fixture
def source_of_17(publish: Publish) -> str:
    return publish("alice/many", {f"train/{n:05}.parquet": parquet(documents(5, n)) for n in range(17)})


OF_17 = [row for seed in range(17) for row in documents(5, seed)]


def test_a_restart_reads_only_what_is_not_added_up_yet(
    source_of_17: str, hub: Hub, hub_environment: dict[str, str], tmp_path: Path
) -> None:
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--commit-every", "0", "--json"]
    fault = hub.fail(method="HEAD", path="00016.parquet", kind="delay", seconds=30)
    process = subprocess.Popen(argv, cwd=tmp_path, env=hub_environment, stdout=subprocess.DEVNULL)
    while not fault.struck:
        assert process.poll() is None
    process.kill()
    process.wait()
    hub.clear_faults()
    hub.clear_journal()
    again = subprocess.run(argv, cwd=tmp_path, env=hub_environment, capture_output=True, text=True, timeout=120)
    assert same(figures(again)["tables"]["global"], expected(OF_17))
    read = {
        request.path for request in hub.journal() if ".parquet" in request.path and "/many/resolve/" in request.path
    }
    assert {path.rpartition("/")[2][:5] for path in read} == {"00000", "00016"}  # the first for its columns


def test_stopped_by_the_machine_it_sends_what_is_finished(
    source_of_17: str, hub: Hub, hub_environment: dict[str, str], tmp_path: Path, client: HfApi
) -> None:
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--json"]
    fault = hub.fail(method="HEAD", path="00016.parquet", kind="delay", seconds=3)
    process = subprocess.Popen(argv, cwd=tmp_path, env=hub_environment, stdout=subprocess.DEVNULL)
    while not fault.struck:
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == 143
    parts = [name for name in client.list_repo_files("alice/stats", repo_type="dataset") if "parts" in name]
    assert parts == ["data/parts/00000-of-00003.parquet", "data/parts/00001-of-00003.parquet"]


def test_shards_make_the_same_bytes_whoever_is_last_and_one_may_end_for_another(
    script: Script, environment: dict[str, str], tmp_path: Path
) -> None:
    pdfs = folder_of(tmp_path / "pdfs", [documents(40, seed) for seed in range(7)])
    figures(script(NAME, pdfs, "./out", "--json", "--part-files", "1"))
    whole = files_in(tmp_path / "work/out")
    orders = {"a": ("2/2", "1/2"), "b": ("5/9", None)}

    def scenario(name: str) -> dict[str, bytes]:
        cwd = tmp_path / name
        cwd.mkdir()
        for shard in orders[name]:
            words = [pdfs, "./out", "--json", "--part-files", "1", *(("--shard", shard) if shard else ())]
            argv = [sys.executable, CATALOG / NAME, *words]
            done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
            assert figures(done)["status"] == ("written" if shard == orders[name][-1] else "shard done")
        return files_in(cwd / "out")

    with ThreadPoolExecutor(2) as pool:
        for name, found in zip(orders, pool.map(scenario, orders), strict=True):
            assert found == whole, name


def test_shards_at_once_on_the_hub(
    source_of_17: str, hub_environment: dict[str, str], tmp_path: Path, client: HfApi
) -> None:
    argv = [sys.executable, CATALOG / NAME, "alice/many", "alice/stats", "--json"]
    started = [
        subprocess.Popen(
            [*argv, "--shard", f"{n}/3"], cwd=tmp_path, env=hub_environment, stdout=subprocess.PIPE, text=True
        )
        for n in (1, 2, 3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert {json.loads(output)["status"] for output in outputs} & {"written", "already there"}
    found = pl.read_parquet(io.BytesIO(held(client, "alice/stats", "data/global.parquet"))).to_dicts()
    assert same(found, expected(OF_17))


def test_a_shard_whose_work_is_refused_keeps_it_and_the_command_hands_it_in(
    script: Script, source_of_17: str, hub: Hub, hub_environment: dict[str, str]
) -> None:
    words = (NAME, "alice/many", "alice/stats", "--json", "--shard")
    hub.fail(method="POST", path="/api/datasets/alice/stats/commit/", status=403, nth=2)
    done = script(*words, "1/2", env=hub_environment)
    assert done.returncode == 6, done.stderr
    command = re.search(r"Fix: (hf upload .*)", done.stderr)
    assert command, done.stderr
    subprocess.run([BIN / "hf", *shlex.split(command[1])[1:]], env=hub_environment, check=True, capture_output=True)
    other = script(*words, "2/2", env=hub_environment)
    assert figures(other)["status"] == "written"
    assert same(figures(other)["tables"]["global"], expected(OF_17))


# --- bad input ---


def test_dry_run_writes_nothing(main: Script, pdfs: Path, tmp_path: Path) -> None:
    done = figures(main(NAME, pdfs, "./out", "--dry-run", "--json"))
    assert (done["status"], done["tables"]) == ("dry run", None)
    assert list((tmp_path / "work").iterdir()) == []


ROW = {"g": "a", "v": 1, "s": 0.5}
HUGE = 100_000_000


def in_parquet(*rows: dict[str, Any], schema: dict[str, Any] | None = None) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(list(rows), schema=schema).write_parquet(buffer)
    return buffer.getvalue()


REFUSED = {
    "no bytes": ("d.jsonl", b"", "is missing"),
    "no bytes of csv": ("d.csv", b"", "d.csv is not readable: empty CSV"),
    "no bytes of parquet": ("d.parquet", b"", "d.parquet"),
    "names but no rows": ("d.csv", b"g,v,s\n", "has no rows"),
    "columns but no rows": (
        "d.parquet",
        in_parquet(schema={"g": pl.String, "v": pl.Int64, "s": pl.Float64}),
        "has no rows",
    ),
    "one column": ("d.jsonl", b'{"text": 1}\n', "the column g of d.jsonl is missing"),
    "structs for a group": ("d.jsonl", jsonl([ROW | {"g": {"a": 1}}]), "the column g is nested, expected text"),
    "structs in parquet": ("d.parquet", in_parquet(ROW | {"g": {"a": 1}}), "the column g of d.parquet is Struct("),
    "lists for a group": ("d.parquet", in_parquet(ROW | {"g": ["a"]}), "the column g of d.parquet is List(String)"),
    "lists for a value": ("d.parquet", in_parquet(ROW | {"v": [1]}), "is List(Int64), expected numbers"),
    "lists of strings for a value": ("d.jsonl", jsonl([ROW | {"v": ["a"]}]), "begins with text, expected numbers"),
    "lists of lists": ("d.parquet", in_parquet(ROW | {"s": [[1.0]]}), "expected numbers, or lists of numbers"),
    "text for a value": ("d.csv", b"g,v,s\na,many,1\n", "the column v of d.csv begins with text, expected numbers"),
    "text for a score": ("d.jsonl", jsonl([ROW | {"s": "good"}]), "the column s of d.jsonl begins with text"),
    "lengths of time": (
        "d.parquet",
        in_parquet(ROW | {"g": None}, schema={"g": pl.Duration, "v": pl.Int64, "s": pl.Float64}),
        "the column g of d.parquet is Duration",
    ),
    "bytes": ("d.parquet", in_parquet(ROW | {"g": b"\xff"}), "the column g of d.parquet is Binary"),
    "a line that is not UTF-8": ("d.jsonl", jsonl([ROW]) + b'{"g": "\xff", "v": 1}\n', "d.jsonl is not readable"),
    "a csv that is not UTF-8": ("d.csv", b"g,v,s\ncaf\xe9,1,1\n", "d.csv is not readable: invalid utf"),
    "UTF-16": ("d.csv", "g,v,s\na,1,1\n".encode("utf-16"), "d.csv is not readable: invalid utf"),
    "a line that is not JSON": ("d.jsonl", jsonl([ROW]) + b'{"g": \n', "d.jsonl is not readable"),
    "a line that is no object": ("d.jsonl", b"[1, 2]\n", "d.jsonl is not readable"),
    "a JSON array": ("d.json", b'[{"g": "a", "v": 1, "s": 1}]', "d.json is not readable"),
    "wider than 64 bits": ("d.jsonl", b'{"g": "a", "v": 1e400, "s": 1}\n', "d.jsonl is not readable"),
    "a footer that is broken": (
        "d.parquet",
        in_parquet(ROW)[:-8] + b"\xff\xff\xff\x7fPAR1",
        "d.parquet is not readable",
    ),
    "a footer that is cut off": ("d.parquet", in_parquet(ROW)[:-9], "d.parquet is not readable"),
    "not parquet": ("d.parquet", b"PAR1 nonsense", "d.parquet is not readable"),
    "more cells than names": ("d.csv", b"g,v,s\na,1,1,b\n", "d.csv is not readable: found more fields"),
    "half of a gzip": ("d.jsonl.gz", gzip.compress(jsonl([ROW] * 9))[:-9], "d.jsonl.gz is not readable"),
    "another compression": ("d.jsonl.bz2", b"BZh9", "d.jsonl.bz2"),
    "arrow": ("d.arrow", b"ARROW1", "d.arrow"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line(main: Script, tmp_path: Path, case: str) -> None:
    file, data, said = REFUSED[case]
    (tmp_path / "work" / file).write_bytes(data)
    done = main(NAME, file, "./out", *BY)
    refused(done, 4, said)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()[-1]) < 900
    assert not (tmp_path / "work/out").exists() or sorted(files_in(tmp_path / "work/out")) == ["run.json"]


READ = {
    "one row": ("d.jsonl", jsonl([ROW])),
    "5,000 columns": ("d.parquet", in_parquet(ROW | {f"c{number}": number for number in range(4996)})),
    "a cell of 100 MB": ("d.parquet", in_parquet(ROW | {"text": "x" * HUGE})),
    "a group of 100 MB": ("d.parquet", in_parquet(ROW | {"g": "x" * HUGE})),
    "names of every kind": ("d.parquet", in_parquet(ROW | {'a"b': 1, "e\nf\r": 1, "# | `h`": 1, "🦄": 1, "": 1})),
    "blank lines": ("d.jsonl", b"\n" + jsonl([ROW]) + b"\n\n"),
    "no last newline": ("d.jsonl", jsonl([ROW])[:-1]),
}


@pytest.mark.parametrize("case", READ)
def test_odd_input_that_is_fine(main: Script, tmp_path: Path, case: str) -> None:
    file, data = READ[case]
    (tmp_path / "work" / file).write_bytes(data)
    assert figures(main(NAME, file, *BY))["tables"]["global"][0]["rows"] == 1
    assert max(map(len, main(NAME, file, *BY[:-1]).stdout.splitlines())) < 400


def test_a_folder_with_more_than_files_in_it(main: Script, tmp_path: Path) -> None:
    (tmp_path / "work/data/folder.parquet").mkdir(parents=True)
    (tmp_path / "work/data/d.jsonl").write_bytes(jsonl([ROW]))
    assert figures(main(NAME, "data", *BY))["tables"]["global"][0]["rows"] == 1


@pytest.mark.parametrize("words", [("in", "in"), ("in", "in/out"), ("in/d.jsonl", "in"), (".", "./out")])
def test_an_output_that_is_the_input(main: Script, tmp_path: Path, words: tuple[str, str]) -> None:
    (tmp_path / "work/in").mkdir()
    (tmp_path / "work/in/d.jsonl").write_bytes(jsonl([ROW]))
    done = main(NAME, *words, *BY, "--overwrite")
    assert (done.returncode, "OUTPUT is INPUT, or one lies in the other" in done.stderr) == (2, True)
    assert sorted(files_in(tmp_path / "work")) == ["in/d.jsonl"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("d.jsonl", "--split", "test"), 4),
        (("d.jsonl", "--config", "other"), 4),
        (("",), 2),
        (("d.jsonl", "--high", "nan"), 2),
        (("d.jsonl", "--high", "inf"), 2),
        (("d.jsonl", "--commit-every", "x"), 2),
        (("d.jsonl", "--limit", "0"), 2),
        (("d.jsonl", "--part-files", "0"), 2),
        (("d.jsonl", "--group-by", ""), 2),
        (("d.jsonl", "--output-repo", ""), 2),
        (("d.jsonl", "--shard", ""), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_nonsense(main: Script, tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    (tmp_path / "work/d.jsonl").write_bytes(jsonl([ROW]))
    done = main(NAME, *BY, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert "error: " in done.stderr


def test_options_may_stand_between_input_and_output(main: Script, tmp_path: Path) -> None:
    (tmp_path / "work/d.jsonl").write_bytes(jsonl([ROW]))
    done = figures(main(NAME, "d.jsonl", "--limit", "1", "./out", "--dry-run", *BY))
    assert (done["status"], done["output"]) == ("dry run", "./out")


@pytest.mark.parametrize("data", [b"PAR1 nonsense", parquet(ROWS[1])[:-9]])
def test_a_file_that_is_at_fault_is_named(main: Script, pdfs: Path, data: bytes) -> None:
    (pdfs / "00002.parquet").write_bytes(data)
    refused(main(NAME, pdfs), 4, "00002.parquet")


def test_a_file_that_is_at_fault_on_the_hub_is_named(
    script: Script, publish: Publish, hub_environment: dict[str, str], client: HfApi
) -> None:
    publish("alice/pdfs", {"a.parquet": parquet(ROWS[1]), "b.parquet": parquet(ROWS[1]), "c.parquet": b"PAR1 nonsense"})
    refused(script(NAME, "alice/pdfs", "alice/stats", env=hub_environment), 4, "c.parquet is not readable")
    assert "README.md" not in client.list_repo_files("alice/stats", repo_type="dataset")


def test_files_that_differ_in_columns(main: Script, pdfs: Path) -> None:
    pl.DataFrame({"id": ["x"]}).write_parquet(pdfs / "00009.parquet")
    refused(main(NAME, pdfs), 4, "the column dump of 00009.parquet is missing")


def test_files_that_differ_in_the_width_of_numbers_add_up(main: Script, pdfs: Path) -> None:
    kinds = {"token_count": pl.Int32, "fw_edu_scores": pl.List(pl.Float32), "dump": pl.Categorical}
    row = {"fw_edu_scores": [[4.0]], "token_count": [1000], "dump": ["CC-MAIN-2014-10"]}
    pl.DataFrame(row, schema_overrides=kinds).write_parquet(pdfs / "00009.parquet")
    last = {"dump": "CC-MAIN-2014-10", "token_count": 1000, "fw_edu_scores": [4.0]}
    assert same(figures(main(NAME, pdfs, "--json"))["tables"]["global"], expected([*ALL, last]))


def test_nothing_but_nulls_gives_no_mean(main: Script, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(jsonl([{"dump": None, "token_count": None, "fw_edu_scores": None}] * 3))
    done = figures(main(NAME, tmp_path / "d.jsonl", "./out", "--json"))["tables"]
    whole = done["global"][0]
    assert (whole["rows"], whole["with_score"], whole["score_mean"], whole["value_sum"]) == (3, 0, None, 0)
    assert "per_year" not in done


def test_too_many_groups_stop_before_the_memory_does(main: Script, tmp_path: Path) -> None:
    pl.DataFrame({"id": range(3_000_001), "n": 1}).write_parquet(tmp_path / "d.parquet")
    refused(main(NAME, tmp_path / "d.parquet", "--group-by", "id", "--value", "n"), 4, "3,000,001 groups")


def test_runs_by_uv_from_stdin(environment: dict[str, str], pdfs: Path, tmp_path: Path) -> None:
    words = ["uv", "run", "--no-project", "-", str(pdfs), "./out", "--json"]
    text = (CATALOG / NAME).read_text(encoding="utf-8")
    done = subprocess.run(words, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert figures(done)["status"] == "written"


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
    whole = pl.read_parquet(io.BytesIO(held(client, "alice/stats", "data/global.parquet"))).to_dicts()
    assert same(whole, expected(ALL))
    card = held(client, "alice/stats", "README.md").decode()
    assert source in card
    assert '"config_name": "per_group"' in card
    assert client.dataset_info("alice/stats").private is False
    assert TOKEN not in done.stdout + done.stderr + card + json.dumps([str(r) for r in hub.journal()])


def test_second_run_is_a_no_op(script: Script, source: str, client: HfApi, hub_environment: dict[str, str]) -> None:
    first = figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))
    head = client.dataset_info("alice/stats").sha
    second = figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))
    assert (second["status"], second["tables"]) == ("already there", first["tables"])
    assert client.dataset_info("alice/stats").sha == head


def test_a_dataset_that_moved_is_another_run(
    script: Script, source: str, publish: Publish, hub_environment: dict[str, str]
) -> None:
    assert script(NAME, "alice/pdfs", "alice/stats", env=hub_environment).returncode == 0
    publish("alice/pdfs", {"data/eng_Latn/train/00009.parquet": parquet(documents(9, 99))})
    refused(script(NAME, "alice/pdfs", "alice/stats", env=hub_environment), 4, "input differ", "--overwrite")
    again = figures(script(NAME, "alice/pdfs", "alice/stats", "--overwrite", "--json", env=hub_environment))
    assert same(again["tables"]["global"], expected([*ALL, *documents(9, 99)]))


def test_languages(script: Script, source: str, hub_environment: dict[str, str]) -> None:
    one = figures(script(NAME, "alice/pdfs", "--lang", "cym_Latn", "--json", env=hub_environment))
    assert (one["config"], one["tables"]["global"][0]["rows"]) == ("cym_Latn", len(ROWS[1]))
    refused(script(NAME, "alice/pdfs", "--lang", "xxx_Latn", env=hub_environment), 4, "eng_Latn", "cym_Latn")


@pytest.mark.parametrize("status", [404, 405, 422, 501])
def test_a_hub_without_buckets(
    script: Script, source: str, hub: Hub, hub_environment: dict[str, str], status: int
) -> None:
    hub.fail(path="/api/buckets", status=status, times=1000)
    done = figures(script(NAME, "alice/pdfs", "alice/stats", "--json", env=hub_environment))
    assert done["status"] == "written"
    bucket = script(NAME, "alice/pdfs", "hf://buckets/alice/stats/run", env=hub_environment)
    refused(bucket, 5, str(status))


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
    hub.fail(method="HEAD", path="d.parquet", status=status, times=2, headers={"Retry-After": "0"})
    hub.fail(method="GET", path="d.parquet", status=status, times=3)
    done = figures(script(NAME, "alice/large", "--json", env=hub_environment))
    assert same(done["tables"]["global"], expected(LARGE_ROWS))


def test_a_hub_that_stays_busy_is_exit_5(
    script: Script, publish: Publish, hub: Hub, hub_environment: dict[str, str]
) -> None:
    publish("alice/large", {"d.parquet": LARGE})
    hub.fail(path="/api/datasets/alice/large", status=429, times=100, headers={"Retry-After": "300"})
    refused(script(NAME, "alice/large", env=hub_environment), 5, "429")


LARGE_ROWS = [row | {"text": random.Random(row["id"]).randbytes(40_000).hex()} for row in documents(200, 3)]
LARGE = parquet(LARGE_ROWS)


def test_printing_public_data_needs_no_token(script: Script, source: str, hub_environment: dict[str, str]) -> None:
    anonymous = {key: value for key, value in hub_environment.items() if key != "HF_TOKEN"}
    done = figures(script(NAME, "alice/pdfs", "--json", env=anonymous))
    assert done["commit"] == source
    assert done["tables"]["global"][0]["rows"] == len(ALL)


def test_text_on_the_hub(script: Script, publish: Publish, hub_environment: dict[str, str]) -> None:
    publish("alice/text", {"train [1].jsonl.gz": gzip.compress(jsonl(PLAIN))})
    whole = figures(script(NAME, "alice/text", *BY, env=hub_environment))["tables"]["global"][0]
    assert (whole["value_sum"], whole["score_mean"]) == (36, 2.25)


def test_private_in_private_out_unless_public(
    script: Script, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish("alice/secret", {"d.parquet": parquet(ROWS[1])}, private=True)
    assert script(NAME, "alice/secret", "alice/a", env=hub_environment).returncode == 0
    assert client.dataset_info("alice/a").private is True
    assert script(NAME, "alice/secret", "alice/b", "--public", env=hub_environment).returncode == 0
    assert client.dataset_info("alice/b").private is False


def test_token_troubles_are_exit_3_before_anything_is_read(
    script: Script, source: str, hub: Hub, hub_environment: dict[str, str]
) -> None:
    hub.clear_journal()
    cases = {"": "no Hub token", READ_TOKEN: "may not write", "hf_no_such_token": "does not accept the token"}
    for token, said in cases.items():
        env = {key: value for key, value in hub_environment.items() if key != "HF_TOKEN"}
        done = script(NAME, "alice/pdfs", "alice/stats", env=env | ({"HF_TOKEN": token} if token else {}))
        refused(done, 3, said)
        assert not token or token not in done.stdout + done.stderr
    refused(script(NAME, "alice/pdfs", "nobody/stats", env=hub_environment), 3, "may not write to nobody/stats")
    assert {request.path.partition("?")[0] for request in hub.journal()} <= {"/api/whoami-v2", "/api/agent-harnesses"}


def test_missing_input(script: Script, hub_environment: dict[str, str], client: HfApi) -> None:
    refused(script(NAME, "alice/nothing", "alice/stats", env=hub_environment), 4, "alice/nothing")
    assert not client.repo_exists("alice/stats", repo_type="dataset")


def test_foreign_dataset_is_refused(
    script: Script, source: str, publish: Publish, client: HfApi, hub_environment: dict[str, str]
) -> None:
    publish("alice/theirs", {"rows.csv": b"a\n1\n"})
    refused(script(NAME, "alice/pdfs", "alice/theirs", env=hub_environment), 4, "files of another origin")
    assert client.list_repo_files("alice/theirs", repo_type="dataset") == [".gitattributes", "rows.csv"]
    assert script(NAME, "alice/pdfs", "alice/theirs", "--overwrite", env=hub_environment).returncode == 0
    assert "# Statistics of alice/pdfs" in held(client, "alice/theirs", "README.md").decode()


def test_dry_run_creates_nothing(script: Script, source: str, client: HfApi, hub_environment: dict[str, str]) -> None:
    assert script(NAME, "alice/pdfs", "alice/stats", "--dry-run", env=hub_environment).returncode == 0
    assert not client.repo_exists("alice/stats", repo_type="dataset")


def test_somebody_else_commits_in_between(
    script: Script, source: str, client: HfApi, hub: Hub, hub_environment: dict[str, str]
) -> None:
    hub.fail(method="POST", path="/api/datasets/alice/stats/commit/", status=412, times=1)
    done = script(NAME, "alice/pdfs", "alice/stats", env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert b"# Statistics of alice/pdfs" in held(client, "alice/stats", "README.md")
