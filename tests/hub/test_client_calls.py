"""Every call of the client that the Hub answers, each once, with what it returns or the error that it documents.

The rows run in order on one Hub; a row that ends in an error leaves nothing behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import (
    BadRequestError,
    BucketNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    JobNotFoundError,
    LocalTokenNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hub.contract import ACCOUNTS, ADA, BOB, READER
from jobshelf.hub import Hub, serve

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
D: dict[str, Any] = {"repo_type": "dataset"}
J: dict[str, Any] = {"namespace": "ada"}
DATA, PRIVATE, GATED, MISSING, BUCKET = "ada/data", "ada/private", "ada/gated", "ada/missing", "ada/bucket"
NO_COMMIT = "0" * 40
NO_JOB = "0" * 24
WATCHED = [{"type": "dataset", "name": DATA}]


@dataclass(frozen=True)
class World:
    """The callers, and a folder; `kept` carries ids from one row to later ones."""

    hub: Hub
    ada: HfApi
    reader: HfApi
    bob: HfApi
    nobody: HfApi
    bad: HfApi
    folder: Path
    kept: dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("calls")
    (folder / "up").mkdir()
    (folder / "up" / "one.txt").write_text("one")
    (folder / "up" / "two.bin").write_bytes(b"\x00two")
    with serve(folder / "hub", accounts=ACCOUNTS) as hub:
        tokens = (ADA.token, READER.token, BOB.token, False, "hf_unknown")
        callers = [HfApi(endpoint=hub.endpoint, token=token) for token in tokens]
        yield World(hub, *callers, folder=folder, kept={})


def keep(world: World, name: str, value: Any) -> Any:
    world.kept[name] = value
    return value


def commit(api: HfApi, repo: str, *operations: Any, **options: Any) -> Any:
    return api.create_commit(repo, list(operations), commit_message="put", **D, **options)


def fetch(api: HfApi, repo: str, path: str, folder: Path, **options: Any) -> bytes:
    target = folder / "down" / str(len(list(folder.rglob("*"))))
    return Path(api.hf_hub_download(repo, path, local_dir=target, **D, **options)).read_bytes()


def job(api: HfApi, code: str, **options: Any) -> Any:
    return api.run_job(image="x", command=[sys.executable, "-c", code], namespace="ada", **options)


def scheduled(api: HfApi, **options: Any) -> Any:
    return api.create_scheduled_job(
        image="x", command=["true"], **{"schedule": "@daily", "namespace": "ada", **options}
    )


Row = tuple[str, Callable[[World], Any], Any]
# what a row is called, the call, and what comes of it: a value, a function of the result, or (error, status)
ROWS: list[Row] = [
    # who
    ("whoami", lambda w: w.ada.whoami()["name"], "ada"),
    ("whoami: cached", lambda w: w.ada.whoami(cache=True)["auth"]["accessToken"]["role"], "write"),
    ("whoami: read token", lambda w: w.reader.whoami()["auth"]["accessToken"]["role"], "read"),
    ("whoami: bad token", lambda w: w.bad.whoami(), (HfHubHTTPError, 401)),
    ("whoami: none", lambda w: w.nobody.whoami(token=True), (LocalTokenNotFoundError, None)),
    ("get_user_overview", lambda w: w.nobody.get_user_overview("ada").username, "ada"),
    ("get_user_overview: nobody", lambda w: w.nobody.get_user_overview("nobody"), (HfHubHTTPError, 404)),
    ("get_organization_overview", lambda w: w.nobody.get_organization_overview("acme").name, "acme"),
    ("list_organization_members", lambda w: [u.username for u in w.ada.list_organization_members("acme")], ["ada"]),
    # repos
    ("create_repo: dataset", lambda w: w.ada.create_repo(DATA, **D).repo_id, DATA),
    ("create_repo: again", lambda w: w.ada.create_repo(DATA, **D), (HfHubHTTPError, 409)),
    ("create_repo: exist_ok", lambda w: w.ada.create_repo(DATA, exist_ok=True, **D).repo_id, DATA),
    ("create_repo: private", lambda w: w.ada.create_repo(PRIVATE, private=True, **D).repo_id, PRIVATE),
    ("create_repo: model", lambda w: w.ada.create_repo("acme/model").repo_type, "model"),
    ("create_repo: space", lambda w: w.ada.create_repo("ada/space", repo_type="space", space_sdk="static").repo_id, "ada/space"),
    ("create_repo: read token", lambda w: w.reader.create_repo("ada/no", **D), (HfHubHTTPError, 403)),
    ("create_repo: not a member", lambda w: w.bob.create_repo("acme/no", **D), (HfHubHTTPError, 403)),
    ("create_repo: anonymous", lambda w: w.nobody.create_repo("ada/no", **D), (HfHubHTTPError, 401)),
    ("create_repo: bad name", lambda w: w.ada.create_repo("ada/no.git", **D), (Exception, None)),
    ("repo_exists", lambda w: w.ada.repo_exists(DATA, **D), True),
    ("repo_exists: hidden", lambda w: w.bob.repo_exists(PRIVATE, **D), False),
    ("repo_info", lambda w: w.nobody.repo_info(DATA, **D).id, DATA),
    ("model_info", lambda w: w.nobody.model_info("acme/model").id, "acme/model"),
    ("space_info", lambda w: w.nobody.space_info("ada/space").sdk, "static"),
    ("dataset_info: missing, anonymous", lambda w: w.nobody.dataset_info(MISSING), (RepositoryNotFoundError, 401)),
    ("dataset_info: missing", lambda w: w.ada.dataset_info(MISSING), (RepositoryNotFoundError, 404)),
    ("dataset_info: private, stranger", lambda w: w.bob.dataset_info(PRIVATE), (RepositoryNotFoundError, 404)),
    ("dataset_info: bad token", lambda w: w.bad.dataset_info(DATA), (HfHubHTTPError, 401)),
    ("dataset_info: no such revision", lambda w: w.ada.dataset_info(DATA, revision="no"), (RevisionNotFoundError, 404)),
    ("auth_check", lambda w: w.bob.auth_check(DATA, **D), None),
    ("auth_check: write", lambda w: w.bob.auth_check(DATA, write=True, **D), (HfHubHTTPError, 403)),
    ("auth_check: missing", lambda w: w.bob.auth_check(PRIVATE, **D), (RepositoryNotFoundError, 404)),
    # commits
    ("upload_file", lambda w: w.ada.upload_file(path_or_fileobj=b"a", path_in_repo="a.txt", repo_id=DATA, **D).oid, len),
    ("upload_file: binary", lambda w: w.ada.upload_file(path_or_fileobj=b"\x00b", path_in_repo="d/b.bin", repo_id=DATA, **D).oid, len),
    ("upload_file: stranger", lambda w: w.bob.upload_file(path_or_fileobj=b"a", path_in_repo="b", repo_id=DATA, **D), (HfHubHTTPError, 403)),
    ("upload_file: read token", lambda w: w.reader.upload_file(path_or_fileobj=b"c", path_in_repo="b", repo_id=DATA, **D), (HfHubHTTPError, 403)),
    ("upload_file: missing repo", lambda w: w.ada.upload_file(path_or_fileobj=b"a", path_in_repo="b", repo_id=MISSING, **D), (RepositoryNotFoundError, 404)),
    ("upload_file: missing branch", lambda w: w.ada.upload_file(path_or_fileobj=b"a", path_in_repo="b", repo_id=DATA, revision="no", **D), (RevisionNotFoundError, 404)),
    ("upload_folder", lambda w: w.ada.upload_folder(folder_path=w.folder / "up", path_in_repo="up", repo_id=DATA, **D).oid, len),
    ("create_commit", lambda w: keep(w, "head", commit(w.ada, DATA, CommitOperationAdd("c.txt", b"c")).oid), len),
    ("create_commit: right parent", lambda w: commit(w.ada, DATA, CommitOperationAdd("e.txt", b"e"), parent_commit=w.kept["head"]).oid, len),
    ("create_commit: stale parent", lambda w: commit(w.ada, DATA, CommitOperationAdd("c.txt", b"x"), parent_commit=w.kept["head"]), (HfHubHTTPError, 412)),
    ("create_commit: delete", lambda w: commit(w.ada, DATA, CommitOperationDelete("e.txt")).oid, len),
    ("create_commit: delete what is not there", lambda w: commit(w.ada, DATA, CommitOperationDelete("no.txt")), (RemoteEntryNotFoundError, 404)),
    ("create_commit: delete folder", lambda w: commit(w.ada, DATA, CommitOperationAdd("gone/x.txt", b"x")) and commit(w.ada, DATA, CommitOperationDelete("gone/")).oid, len),
    ("create_commit: copy", lambda w: commit(w.ada, DATA, CommitOperationCopy("d/b.bin", "d/copy.bin")).oid, len),
    ("create_commit: bad card", lambda w: commit(w.ada, DATA, CommitOperationAdd("README.md", b"---\na: [\n---\n")), (ValueError, None)),
    ("create_commit: card", lambda w: commit(w.ada, DATA, CommitOperationAdd("README.md", b"---\ntags: [x]\n---\n")).oid, len),
    ("delete_file", lambda w: w.ada.delete_file("c.txt", DATA, **D).oid, len),
    ("delete_file: again", lambda w: w.ada.delete_file("c.txt", DATA, **D), (RemoteEntryNotFoundError, 404)),
    ("delete_files", lambda w: w.ada.delete_files(DATA, ["up/*.bin"], **D).oid, len),
    ("delete_folder", lambda w: w.ada.delete_folder("up", DATA, **D).oid, len),
    # reading
    ("list_repo_files", lambda w: sorted(w.nobody.list_repo_files(DATA, **D)), [".gitattributes", "README.md", "a.txt", "d/b.bin", "d/copy.bin"]),
    ("list_repo_files: missing branch", lambda w: w.ada.list_repo_files(DATA, revision="no", **D), (RevisionNotFoundError, 404)),
    ("list_repo_tree", lambda w: [i.path for i in w.ada.list_repo_tree(DATA, "d", **D)], ["d/b.bin", "d/copy.bin"]),
    ("list_repo_tree: missing folder", lambda w: list(w.ada.list_repo_tree(DATA, "no", **D)), (RemoteEntryNotFoundError, 404)),
    ("get_paths_info", lambda w: [i.path for i in w.ada.get_paths_info(DATA, ["a.txt", "d", "no"], expand=True, **D)], ["a.txt", "d"]),
    ("file_exists", lambda w: (w.ada.file_exists(DATA, "a.txt", **D), w.ada.file_exists(DATA, "no", **D)), (True, False)),
    ("revision_exists", lambda w: (w.ada.revision_exists(DATA, "main", **D), w.ada.revision_exists(DATA, "no", **D)), (True, False)),
    ("hf_hub_download", lambda w: fetch(w.nobody, DATA, "a.txt", w.folder), b"a"),
    ("hf_hub_download: large", lambda w: fetch(w.nobody, DATA, "d/copy.bin", w.folder), b"\x00b"),
    ("hf_hub_download: missing file", lambda w: fetch(w.ada, DATA, "no", w.folder), (RemoteEntryNotFoundError, 404)),
    ("hf_hub_download: missing revision", lambda w: fetch(w.ada, DATA, "a.txt", w.folder, revision=NO_COMMIT), (RevisionNotFoundError, 404)),
    ("hf_hub_download: missing repo", lambda w: fetch(w.nobody, MISSING, "a.txt", w.folder), (RepositoryNotFoundError, 401)),
    ("snapshot_download", lambda w: len(list(Path(w.ada.snapshot_download(DATA, local_dir=w.folder / "snap", **D)).rglob("*.bin"))), 2),
    ("HfFileSystem.ls", lambda w: HfFileSystem(endpoint=w.hub.endpoint, token=ADA.token).ls(f"datasets/{DATA}/d", detail=False), [f"datasets/{DATA}/d/b.bin", f"datasets/{DATA}/d/copy.bin"]),
    ("HfFileSystem.read_block", lambda w: HfFileSystem(endpoint=w.hub.endpoint, token=ADA.token).cat_file(f"datasets/{DATA}/d/b.bin", start=1, end=2), b"b"),
    ("get_hf_file_metadata", lambda w: w.ada.get_hf_file_metadata(url=f"{w.hub.endpoint}/datasets/{DATA}/resolve/main/a.txt").size, 1),
    ("list_repo_commits", lambda w: w.ada.list_repo_commits(DATA, **D)[-1].title, "initial commit"),
    ("list_repo_commits: missing", lambda w: w.ada.list_repo_commits(MISSING, **D), (RepositoryNotFoundError, 404)),
    # refs
    ("create_branch", lambda w: w.ada.create_branch(DATA, branch="feat/x", **D), None),
    ("create_branch: again", lambda w: w.ada.create_branch(DATA, branch="feat/x", **D), (HfHubHTTPError, 409)),
    ("create_branch: exist_ok", lambda w: w.ada.create_branch(DATA, branch="feat/x", exist_ok=True, **D), None),
    ("create_branch: from what is not there", lambda w: w.ada.create_branch(DATA, branch="y", revision="no", **D), (RevisionNotFoundError, 404)),
    ("create_branch: bad name", lambda w: w.ada.create_branch(DATA, branch="a..b", **D), (BadRequestError, 400)),
    ("create_tag", lambda w: w.ada.create_tag(DATA, tag="v1", **D), None),
    ("create_tag: again", lambda w: w.ada.create_tag(DATA, tag="v1", **D), (HfHubHTTPError, 409)),
    ("list_repo_refs", lambda w: ([r.name for r in w.ada.list_repo_refs(DATA, **D).branches], [r.name for r in w.ada.list_repo_refs(DATA, **D).tags]), (["feat/x", "main"], ["v1"])),
    ("delete_branch", lambda w: w.ada.delete_branch(DATA, branch="feat/x", **D), None),
    ("delete_branch: main", lambda w: w.ada.delete_branch(DATA, branch="main", **D), (HfHubHTTPError, 403)),
    ("delete_tag", lambda w: w.ada.delete_tag(DATA, tag="v1", **D), None),
    ("delete_tag: again", lambda w: w.ada.delete_tag(DATA, tag="v1", **D), (RevisionNotFoundError, 404)),
    ("super_squash_history", lambda w: w.ada.super_squash_history("acme/model"), None),
    # discussions
    ("create_pull_request", lambda w: w.bob.create_pull_request(DATA, "A draft", **D).status, "draft"),
    ("create_commit: create_pr", lambda w: commit(w.bob, DATA, CommitOperationAdd("pr.txt", b"1"), create_pr=True).pr_num, 2),
    ("create_discussion", lambda w: w.bob.create_discussion(DATA, "A question", **D).num, 3),
    ("create_discussion: read token", lambda w: w.reader.create_discussion(DATA, "A question", **D), (HfHubHTTPError, 403)),
    ("get_repo_discussions", lambda w: [d.num for d in w.nobody.get_repo_discussions(DATA, **D)], [3, 2, 1]),
    ("get_discussion_details: missing", lambda w: w.ada.get_discussion_details(DATA, 99, **D), (HfHubHTTPError, 404)),
    ("comment_discussion", lambda w: w.ada.comment_discussion(DATA, 3, "An answer", **D).content, "An answer"),
    ("rename_discussion", lambda w: w.ada.rename_discussion(DATA, 3, "Answered", **D).new_title, "Answered"),
    ("change_discussion_status", lambda w: w.bob.change_discussion_status(DATA, 3, "closed", **D).new_status, "closed"),
    ("merge_pull_request: stranger", lambda w: w.bob.merge_pull_request(DATA, 2, **D), (HfHubHTTPError, 403)),
    ("merge_pull_request", lambda w: w.ada.merge_pull_request(DATA, 2, **D), None),
    ("merge_pull_request: again", lambda w: w.ada.merge_pull_request(DATA, 2, **D), (BadRequestError, 400)),
    # settings, access, lists
    ("update_repo_settings", lambda w: w.ada.update_repo_settings(PRIVATE, private=True, **D), None),
    ("update_repo_settings: stranger", lambda w: w.bob.update_repo_settings(DATA, private=True, **D), (HfHubHTTPError, 403)),
    ("update_repo_settings: gated", lambda w: w.ada.create_repo(GATED, **D) and w.ada.update_repo_settings(GATED, gated="manual", **D), None),
    ("hf_hub_download: gated", lambda w: fetch(w.bob, GATED, ".gitattributes", w.folder), (GatedRepoError, 403)),
    ("hf_hub_download: gated, anonymous", lambda w: fetch(w.nobody, GATED, ".gitattributes", w.folder), (GatedRepoError, 401)),
    ("auth_check: gated", lambda w: w.bob.auth_check(GATED, **D), (GatedRepoError, 403)),
    ("grant_access", lambda w: w.ada.grant_access(GATED, "bob", **D), {}),
    ("grant_access: again", lambda w: w.ada.grant_access(GATED, "bob", **D), (BadRequestError, 400)),
    ("cancel_access_request", lambda w: w.ada.cancel_access_request(GATED, "bob", **D), None),
    ("list_pending_access_requests", lambda w: [r.username for r in w.ada.list_pending_access_requests(GATED, **D)], ["bob"]),
    ("reject_access_request", lambda w: w.ada.reject_access_request(GATED, "bob", rejection_reason=None, **D), None),
    ("accept_access_request", lambda w: w.ada.accept_access_request(GATED, "bob", **D), None),
    ("list_datasets", lambda w: [d.id for d in w.nobody.list_datasets(author="ada")], [GATED, DATA]),
    ("list_models", lambda w: [m.id for m in w.nobody.list_models()], ["acme/model"]),
    ("list_spaces", lambda w: [s.id for s in w.nobody.list_spaces()], ["ada/space"]),
    ("list_user_repos", lambda w: len(list(w.ada.list_user_repos())), 4),
    ("move_repo", lambda w: w.ada.move_repo("acme/model", "ada/model", repo_type="model"), None),
    ("move_repo: taken", lambda w: w.ada.move_repo(PRIVATE, DATA, **D), (HfHubHTTPError, 409)),
    ("delete_repo: stranger", lambda w: w.bob.delete_repo(DATA, **D), (HfHubHTTPError, 403)),
    ("delete_repo", lambda w: w.ada.delete_repo("ada/model"), None),
    ("delete_repo: missing", lambda w: w.ada.delete_repo("ada/model"), (RepositoryNotFoundError, 404)),
    ("delete_repo: missing_ok", lambda w: w.ada.delete_repo("ada/model", missing_ok=True), None),
    # buckets
    ("create_bucket", lambda w: w.ada.create_bucket(BUCKET, private=True).bucket_id, BUCKET),
    ("create_bucket: again", lambda w: w.ada.create_bucket(BUCKET), (HfHubHTTPError, 409)),
    ("batch_bucket_files", lambda w: w.ada.batch_bucket_files(BUCKET, add=[(b"x", "d/x.txt"), (b"y", "y.txt")]), None),
    ("batch_bucket_files: stranger", lambda w: w.bob.batch_bucket_files(BUCKET, delete=["y.txt"]), (BucketNotFoundError, 404)),
    ("bucket_info", lambda w: w.ada.bucket_info(BUCKET).total_files, 2),
    ("bucket_info: missing", lambda w: w.ada.bucket_info("ada/nothing"), (BucketNotFoundError, 404)),
    ("list_buckets", lambda w: [b.id for b in w.ada.list_buckets()], [BUCKET]),
    ("list_bucket_tree", lambda w: [i.path for i in w.ada.list_bucket_tree(BUCKET, recursive=True)], ["d/x.txt", "y.txt"]),
    ("get_bucket_paths_info", lambda w: [i.size for i in w.ada.get_bucket_paths_info(BUCKET, ["y.txt", "no"])], [1]),
    ("download_bucket_files", lambda w: w.ada.download_bucket_files(BUCKET, [("y.txt", w.folder / "y.txt")]) or (w.folder / "y.txt").read_bytes(), b"y"),
    ("update_bucket_settings", lambda w: w.ada.update_bucket_settings(BUCKET, private=False), None),
    ("delete_bucket", lambda w: w.ada.delete_bucket(BUCKET), None),
    # Jobs
    ("list_jobs_hardware", lambda w: w.nobody.list_jobs_hardware()[0].name, "cpu-basic"),
    ("run_job", lambda w: keep(w, "job", job(w.ada, "print('done')").id), len),
    ("run_job: unknown flavor", lambda w: job(w.ada, "", flavor="h100"), (BadRequestError, 400)),
    ("run_job: stranger", lambda w: job(w.bob, ""), (HfHubHTTPError, 403)),
    ("run_job: read token", lambda w: job(w.reader, ""), (HfHubHTTPError, 403)),
    ("run_job: ssh", lambda w: job(w.ada, "", ssh=True), (HfHubHTTPError, 501)),
    ("wait_for_job", lambda w: w.ada.wait_for_job(w.kept["job"], poll_interval=0.05, **J).status.stage, "COMPLETED"),
    ("inspect_job", lambda w: w.ada.inspect_job(job_id=w.kept["job"], **J).docker_image, "x"),
    ("inspect_job: missing", lambda w: w.ada.inspect_job(job_id=NO_JOB, **J), (JobNotFoundError, 404)),
    ("inspect_job: stranger", lambda w: w.bob.inspect_job(job_id=w.kept["job"], **J), (JobNotFoundError, 404)),
    ("fetch_job_logs", lambda w: list(w.ada.fetch_job_logs(job_id=w.kept["job"], **J))[-1], "done"),
    ("fetch_job_logs: missing", lambda w: list(w.ada.fetch_job_logs(job_id=NO_JOB, **J)), (JobNotFoundError, 404)),
    ("fetch_job_metrics: over", lambda w: list(w.ada.fetch_job_metrics(job_id=w.kept["job"], **J)), []),
    ("list_jobs", lambda w: [j.id for j in w.ada.list_jobs(**J)] == [w.kept["job"]], True),
    ("update_job_labels", lambda w: w.ada.update_job_labels(job_id=w.kept["job"], labels={"a": "b"}, **J).labels, {"a": "b"}),
    ("update_job_expose", lambda w: w.ada.update_job_expose(job_id=w.kept["job"], expose=[80], **J), (HfHubHTTPError, 501)),
    ("rerun_job", lambda w: w.ada.wait_for_job(w.ada.rerun_job(job_id=w.kept["job"], **J).id, poll_interval=0.05, **J).status.stage, "COMPLETED"),
    ("cancel_job", lambda w: w.ada.cancel_job(job_id=w.kept["job"], **J), None),
    ("cancel_job: missing", lambda w: w.ada.cancel_job(job_id=NO_JOB, **J), (JobNotFoundError, 404)),
    ("create_scheduled_job", lambda w: keep(w, "schedule", scheduled(w.ada).id), len),
    ("create_scheduled_job: bad", lambda w: scheduled(w.ada, schedule="often"), (BadRequestError, 400)),
    ("inspect_scheduled_job", lambda w: w.ada.inspect_scheduled_job(scheduled_job_id=w.kept["schedule"], **J).schedule, "@daily"),
    ("inspect_scheduled_job: missing", lambda w: w.ada.inspect_scheduled_job(scheduled_job_id=NO_JOB, **J), (JobNotFoundError, 404)),
    ("list_scheduled_jobs", lambda w: len(w.ada.list_scheduled_jobs(**J)), 1),
    ("suspend_scheduled_job", lambda w: w.ada.suspend_scheduled_job(scheduled_job_id=w.kept["schedule"], **J), None),
    ("resume_scheduled_job", lambda w: w.ada.resume_scheduled_job(scheduled_job_id=w.kept["schedule"], **J), None),
    ("update_scheduled_job_schedule", lambda w: w.ada.update_scheduled_job_schedule(scheduled_job_id=w.kept["schedule"], schedule="@weekly", **J).schedule, "@weekly"),
    ("update_scheduled_job_labels", lambda w: w.ada.update_scheduled_job_labels(scheduled_job_id=w.kept["schedule"], labels={"a": "b"}, **J).job_spec.labels, {"a": "b"}),
    ("trigger_scheduled_job", lambda w: w.ada.trigger_scheduled_job(scheduled_job_id=w.kept["schedule"], **J).initiator.type, "scheduled-job"),
    ("delete_scheduled_job", lambda w: w.ada.delete_scheduled_job(scheduled_job_id=w.kept["schedule"], **J), None),
    # webhooks
    ("create_webhook", lambda w: keep(w, "hook", w.ada.create_webhook(job_id=w.kept["job"], watched=WATCHED).id), len),
    ("create_webhook: elsewhere", lambda w: w.ada.create_webhook(url="https://example.org/", watched=WATCHED), (BadRequestError, 400)),
    ("get_webhook", lambda w: w.ada.get_webhook(w.kept["hook"]).domains, ["repo", "discussion"]),
    ("get_webhook: somebody else's", lambda w: w.bob.get_webhook(w.kept["hook"]), (HfHubHTTPError, 404)),
    ("list_webhooks", lambda w: len(w.ada.list_webhooks()), 1),
    ("update_webhook", lambda w: w.ada.update_webhook(w.kept["hook"], domains=["repo"]).domains, ["repo"]),
    ("disable_webhook", lambda w: w.ada.disable_webhook(w.kept["hook"]).disabled, True),
    ("enable_webhook", lambda w: w.ada.enable_webhook(w.kept["hook"]).disabled, False),
    ("delete_webhook", lambda w: w.ada.delete_webhook(w.kept["hook"]), None),
]  # fmt: skip


@pytest.mark.parametrize(("call", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_call(world: World, call: Callable[[World], Any], expected: Any):
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        error, status = expected
        with pytest.raises(error) as raised:
            call(world)
        if status is not None:
            assert raised.value.response.status_code == status
            # the most telling class, no more and no less
            assert type(raised.value) is error
    else:
        result = call(world)
        assert expected(result) if callable(expected) else result == expected


def test_the_rows_are_many_and_each_is_one():
    assert len(ROWS) >= 120
    assert len({row[0] for row in ROWS}) == len(ROWS)
    methods = {row[0].partition(":")[0] for row in ROWS}
    assert {name for name in methods if "." not in name} <= {*dir(HfApi), "model_info"}
