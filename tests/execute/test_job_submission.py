"""What a job is made of: what is refused, what travels, and that nothing else does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.plan.test_plan import SWEEP
from tests.plugins.written import LOSS, write_plugin
from w2s_ray.config import load_sweep, parse_sweep
from w2s_ray.config.budget import Budget
from w2s_ray.execute.job_client import JobError, Jobs, token, token_source
from w2s_ray.execute.job_package import pack
from w2s_ray.execute.job_submission import Submission, submission


def made(folder: Path, more: str = "", **options) -> Submission:
    path = folder / "my sweep.yaml"
    path.write_text(SWEEP + more)
    return submission(parse_sweep(SWEEP + more), sweep_file=path, **options)


def test_a_job_is_w2s_run_with_the_store_and_variables_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "lab")
    job = made(tmp_path, "store: s3://bucket/results\n", variables=["AWS_PROFILE"])
    assert job.entrypoint == (
        "exec python -m w2s_ray run 'my sweep.yaml' --store s3://bucket/results"
    )
    assert job.variables.pop("RAY_JOB_STOP_WAIT_TIME_S")  # type: ignore[attr-defined]
    assert job.variables == {"AWS_PROFILE": "lab"}
    with pytest.raises(ValueError, match=r"--env NOT_SET: it isn't set here"):
        made(tmp_path, "store: s3://bucket/results\n", variables=["NOT_SET"])
    with pytest.raises(ValueError, match="--env KEY: give the name alone"):
        made(tmp_path, "store: s3://bucket/results\n", variables=["KEY=value"])


def test_overrides_go_with_the_job_and_make_it_another_one(tmp_path):
    store = "store: s3://bucket/results\n"
    job = made(tmp_path, store, overrides=["seeds=[0, 1]", "name=t"])
    assert job.entrypoint.startswith(
        "exec python -m w2s_ray run 'my sweep.yaml' 'seeds=[0, 1]' name=t --store s3:"
    )
    texts = {made(tmp_path, store, overrides=o).metadata["w2s_text"] for o in ([], ["name=t"])}
    assert len({*texts, job.metadata["w2s_text"]}) == 3


def test_a_budget_goes_with_the_job_and_so_does_its_price(tmp_path):
    job = made(tmp_path, "store: s3://bucket/results\n", budget=Budget(50, "USD", 2.5))
    assert job.entrypoint.endswith("--budget '50 USD' --price-per-hour 2.5 --currency USD")
    assert job.metadata["w2s_budget"] == "50 USD"
    hours = made(tmp_path, "store: s3://b/r\n", budget=Budget(12.5, "device-hours"))
    assert hours.entrypoint.endswith("--budget '12.5 device-hours'")
    assert list(hours.files) == ["my sweep.yaml"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"w2s_text": "other"}, "job j runs grid with another sweep file in the same store"),
        ({"w2s_budget": "9 USD"}, r"with another budget \(9 USD, not none\) in the same store"),
    ],
)
def test_a_running_job_with_other_settings_is_an_error(tmp_path, monkeypatch, more, message):
    wanted = made(tmp_path, "store: s3://bucket/results\n")
    jobs = object.__new__(Jobs)
    jobs.address = "http://head:8265"
    running = SimpleNamespace(submission_id="j", metadata=dict(wanted.metadata))
    monkeypatch.setattr(Jobs, "under_way", lambda self, sweep: [running])
    assert jobs.running_alike(wanted) == "j"
    running.metadata.update(more)
    with pytest.raises(JobError, match=message):
        jobs.running_alike(wanted)


def test_folders_that_the_cluster_does_not_see_are_refused_unless_shared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"store results is a folder of this machine.*--shared"):
        made(tmp_path)
    assert f"--store {tmp_path}/results" in made(tmp_path, shared=True).entrypoint
    (tmp_path / "s").mkdir()
    with pytest.raises(ValueError, match=r"model s: folder s is a folder of this machine"):
        made(tmp_path, "store: s3://bucket/results\n")
    with pytest.raises(ValueError, match=r"model s: folder s is relative"):
        made(tmp_path, "store: s3://bucket/results\n", shared=True)


OWN = """\
name: own
task: {{name: boolq, {task}, train: 8, {parts}}}
models: ["embedded:xs", {model}]
methods: {{naive: {{}}}}
store: s3://bucket/results
"""
CORPUS = """{name: s, pretrain: {architecture: {width: 32, layers: 1, heads: 2},
corpus: {name: texts, path: PATH, train: all, validation: 2, test: 2}}}"""


@pytest.mark.parametrize(
    ("task", "model", "named"),
    [
        ("path: /a, test: {path: t.csv}", "s", r"task boolq: test\.path t\.csv"),
        (
            "path: /a, columns: {text: t, label: l}, validation: {path: v}",
            "s",
            r"task boolq: validation\.path v",
        ),
        ("path: '/a/*.csv', columns: {text: 0, label: 1}", "s", r"task boolq: path /a/\*\.csv"),
        (
            "files: [{path: /a, label: 0}, {path: b, label: 1}], columns: {text: t}",
            "s",
            r"task boolq: files\[1\]\.path b",
        ),
        (
            "path: /a, join: {path: c, on: id}, columns: {text: t, label: l}",
            "s",
            r"task boolq: join\.path c",
        ),
        ("path: /a, columns: {text: t, label: l}", CORPUS, "task texts: path PATH"),
    ],
)
def test_every_file_of_a_task_or_corpus_must_be_on_the_cluster(tmp_path, task, model, named):
    file = tmp_path / "sweep.yaml"
    parts = ", ".join(f"{part}: 2" for part in ("validation", "test") if f"{part}: " not in task)
    file.write_text(OWN.format(task=task, parts=parts, model=model))
    sweep = parse_sweep(file.read_text())
    with pytest.raises(ValueError, match=r"is a folder of this machine"):
        submission(sweep, sweep_file=file)
    if "/a/" not in named:
        with pytest.raises(ValueError, match=f"{named} is relative, and a job runs in another"):
            submission(sweep, sweep_file=file, shared=True)
    else:
        assert submission(sweep, sweep_file=file, shared=True).files == {
            "sweep.yaml": file.read_text()
        }


def test_a_job_uploads_a_runnable_package_and_the_sweep_file(tmp_path):
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP)
    bare, whole = tmp_path / "bare", tmp_path / "whole"
    for folder in (bare, whole):
        folder.mkdir()
    pack({sweep.name: sweep}, into=bare, package=False)
    assert [path.name for path in bare.iterdir()] == ["sweep.yaml"]
    pack({sweep.name: sweep}, into=whole, package=True)
    assert not list(whole.rglob("__pycache__"))
    code = "import importlib.metadata as m, w2s_ray; print(w2s_ray.__file__, m.version('w2s_ray'))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=whole, capture_output=True, text=True, check=True
    ).stdout.split()
    assert Path(output[0]).is_relative_to(whole)
    assert list(whole.glob(f"w2s_ray-{output[1]}.dist-info/METADATA"))


def test_a_token_is_found_where_ray_would_find_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert token() is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    assert token() == "home"
    (tmp_path / "other").write_text("named")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
    assert (token(), token_source()) == ("named", str(tmp_path / "other"))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "direct")
    assert (token(), token_source()) == ("direct", "RAY_AUTH_TOKEN")


def test_a_malformed_and_an_unreachable_address_are_errors_of_one_line(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(JobError, match="give the address of the cluster's dashboard"):
        Jobs("10.0.0.1:6379")
    with pytest.raises(JobError, match=r"no Ray dashboard answers at http://127\.0\.0\.1:1") as no:
        Jobs("http://127.0.0.1:1/")
    assert "\n" not in str(no.value)


def test_plugins_go_with_the_job_and_their_source_makes_it_another_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_plugin(tmp_path / "lab" / "shared" / "mine.py", LOSS)
    write_plugin(tmp_path / "pack_s" / "sub" / "losses.py", LOSS.replace("mine", "other"))
    file = tmp_path / "lab" / "sweeps" / "my sweep.yaml"
    file.parent.mkdir()

    def job(plugins: str, **options) -> Submission:
        file.write_text(f"{SWEEP}plugins: [{plugins}]\nstore: s3://bucket/results\n")
        return submission(load_sweep(file), sweep_file=file, **options)

    sent = job("../shared/mine.py, pack_s.sub.losses")
    assert sent.entrypoint.startswith("exec python -m w2s_ray run 'sweep/sweeps/my sweep.yaml' ")
    assert list(sent.files) == [
        "sweep/sweeps/my sweep.yaml",
        "sweep/shared/mine.py",
        "pack_s/sub/losses.py",
    ]
    (tmp_path / "job").mkdir()
    pack(sent.files, into=tmp_path / "job", package=False)
    there = load_sweep(tmp_path / "job" / "sweep" / "sweeps" / "my sweep.yaml")
    assert there.plugins[0].source.digest == load_sweep(file).plugins[0].source.digest
    write_plugin(tmp_path / "lab" / "shared" / "mine.py", LOSS, "#")
    edited = job("../shared/mine.py, pack_s.sub.losses")
    assert edited.metadata["w2s_text"] != sent.metadata["w2s_text"]
    absolute = tmp_path / "lab" / "shared" / "mine.py"
    with pytest.raises(ValueError, match=r"plugin \S+/mine\.py is a file of this machine"):
        job(str(absolute))
    assert list(job(str(absolute), shared=True).files) == ["my sweep.yaml"]
