"""The heavy route: thousands of tasks are datatrove's business, whose executor runs on the same Jobs API."""

from __future__ import annotations

import subprocess

import pytest

from docs.snippets import snippets
from support import BIN, ROOT

# What the guide tells people to write.
(PIPELINE,) = (one.body for one in snippets(ROOT / "docs" / "scale.md", "python"))


@pytest.mark.heavy
@pytest.mark.jobs
def test_a_pipeline_of_many_tasks(hub_environment, client, tmp_path):
    """12 tasks in four Jobs, two at a time; all markers are there, and a second run starts nothing."""
    (tmp_path / "pipeline.py").write_text(PIPELINE.replace("buckets/you/", "buckets/alice/"))
    argv = [BIN / "uv", "run", "--no-project", "--python", "3.11", "--with", "datatrove[io]>=0.10,<0.11", "pipeline.py"]
    for _ in range(2):
        done = subprocess.run(argv, env=hub_environment, cwd=tmp_path, capture_output=True, text=True, timeout=220)
        assert done.returncode == 0, done.stderr[-3000:]
    jobs = list(client.list_jobs(namespace="alice"))
    log = "\n".join(list(client.fetch_job_logs(job_id=jobs[-1].id, namespace="alice"))[-15:])
    assert [job.status.stage for job in jobs] == ["COMPLETED"] * 4, log
    names = [item.path for item in client.list_bucket_tree("alice/squares", recursive=True) if item.type == "file"]
    assert [name for name in sorted(names) if "completions/" in name] == [
        f"logs/completions/{rank:05d}" for rank in range(12)
    ]
    texts = [tmp_path / f"part-{number}" for number in range(12)]
    parts = sorted(name for name in names if name.startswith("out/"))
    client.download_bucket_files("alice/squares", [(name, str(path)) for name, path in zip(parts, texts, strict=True)])
    found = sorted(int(line.partition('"text":"')[2].partition('"')[0]) for path in texts for line in path.open())
    assert found == [number**2 for number in range(24)]
