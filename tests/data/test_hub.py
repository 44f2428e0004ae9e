"""Models and data sets of a hub, through the hub's own client code and a server on this machine."""

from __future__ import annotations

import io
import json

import pytest
from safetensors.torch import save

from tests.hub_server import (
    PullRequest,
    Repository,
    commit_of,
    hub_server,
    point_at,
    use_hub,
)
from tests.support import make_model
from w2s_ray.config import Model, ModelSource
from w2s_ray.data import hub, inputs, models, split_ref
from w2s_ray.data.fetch import fetch_config, fetch_model
from w2s_ray.data.models import model_source
from w2s_ray.data.sources import SourceUnavailable, read_rows
from w2s_ray.errors import InputError
from w2s_ray.fits.failures import cause_of
from w2s_ray.network import HubUnreachable

PICKLED = {"config.json": b"{}", "pytorch_model.bin": b"pickle", "vocab.json": b"{}"}


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub that is reached."""
    with hub_server() as running:
        use_hub(monkeypatch, running.url, tmp_path / "datasets")
        yield running


def restart(monkeypatch) -> hub.Lookups:
    """The look-ups of a new process."""
    fresh = hub.Lookups()
    monkeypatch.setattr(inputs, "LOOKUPS", fresh)
    monkeypatch.setattr(models, "LOOKUPS", fresh)
    return fresh


def disconnect(server, monkeypatch) -> hub.Lookups:
    """The look-ups of a new process without a network."""
    server.disappear()
    return restart(monkeypatch)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> dict[str, bytes]:
    """The files of a model with safetensors."""
    folder = make_model(tmp_path_factory.mktemp("models") / "tiny")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def source_of(name: str, **fields) -> ModelSource:
    return model_source(Model(name=name, **fields))


def sharded(tiny) -> dict[str, bytes]:
    """The files of a model whose weights are in two files, beside others that no fit reads."""
    from safetensors.torch import load

    tensors = load(tiny["model.safetensors"])
    names = sorted(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:3]}
    parts["model-00002-of-00002.safetensors"] = names[3:]
    places = {name: file for file, inside in parts.items() for name in inside}
    files = {file: data for file, data in tiny.items() if file != "model.safetensors"}
    files |= {f: save({n: tensors[n] for n in inside}) for f, inside in parts.items()}
    files["model.safetensors.index.json"] = json.dumps(
        {"metadata": {}, "weight_map": places}
    ).encode()
    return files | {"consolidated.safetensors": b"twice", "onnx/model.onnx": b"onnx"}


# Names and commits.


def test_a_model_is_pinned_to_the_commit_of_main(server, tiny):
    server.models["org/m"] = Repository.of(tiny)
    assert source_of("org/m").identity == f"hub:org/m@{server.models['org/m'].main}"


def test_the_second_run_needs_no_network(server, tiny, monkeypatch):
    server.models["org/m"] = Repository.of(tiny)
    server.models["org/m"].add_branch("v2", tiny, parent=server.models["org/m"].main)
    first = [source_of("org/m"), source_of("org/m", revision="v2")]
    fetched = [fetch_model(source) for source in first]
    asked = len(server.requests)
    restart(monkeypatch)
    assert [source_of("org/m"), source_of("org/m", revision="v2")] == first
    assert [fetch_model(source) for source in first] == fetched
    assert len(server.requests) == asked
    disconnect(server, monkeypatch)
    assert [source_of("org/m"), source_of("org/m", revision="v2")] == first
    assert [fetch_model(source) for source in first] == fetched


def test_another_hub_has_its_own_commits(server, tiny, monkeypatch):
    server.models["org/m"] = Repository.of(tiny)
    source_of("org/m")
    restart(monkeypatch)
    point_at(monkeypatch, "http://127.0.0.1:9")
    assert source_of("org/m").provisional


def test_a_conversion_of_main_is_followed_and_pinned(server, tiny):
    """As with facebook/opt-125m, whose main has a pickle alone."""
    requests = (PullRequest(3, title="Fix the card"), PullRequest(4, author="someone"))
    repository = Repository.of(PICKLED, pull_requests=(*requests, PullRequest(35)))
    for number in (3, 4):
        repository.add_branch(f"refs/pr/{number}", tiny, parent=repository.main)
    commit = repository.add_branch("refs/pr/35", {**PICKLED, **tiny}, parent=repository.main)
    server.models["facebook/opt-125m"] = repository
    source = source_of("facebook/opt-125m")
    assert source.identity == f"hub:facebook/opt-125m@{commit}"
    folder = fetch_model(source).location
    assert folder.endswith(commit)


@pytest.mark.parametrize("fault", ["author", "title", "parent", "closed", "none"])
def test_only_the_hubs_own_conversion_of_main_is_followed(server, tiny, fault):
    request = PullRequest(
        35,
        author="someone" if fault == "author" else "SFconvertbot",
        title="Adding safetensors" if fault == "title" else PullRequest(0).title,
        status="closed" if fault == "closed" else "open",
    )
    repository = Repository.of(PICKLED, pull_requests=() if fault == "none" else (request,))
    old = repository.add_branch("old", PICKLED, parent=repository.main)
    parent = old if fault == "parent" else repository.main
    repository.add_branch("refs/pr/35", tiny, parent=parent)
    server.models["org/m"] = repository
    with pytest.raises(InputError, match=r"has no model.safetensors .*only pytorch_model.bin"):
        source_of("org/m")


def test_a_revision_with_safetensors_is_used_and_one_without_is_refused(server, tiny):
    repository = Repository.of(PICKLED)
    commit = repository.add_branch("refs/pr/1", tiny, parent=repository.main)
    repository.add_branch("step1000", PICKLED, parent=repository.main)
    server.models["org/m"] = repository
    assert source_of("org/m", revision="refs/pr/1").revision == commit
    line = r"model 'org/m' at revision step1000 has no model.safetensors .*give a `revision`"
    with pytest.raises(InputError, match=line):
        source_of("org/m", revision="step1000")
    with pytest.raises(InputError, match=rf"at revision {repository.main} has no model"):
        source_of("org/m", revision=repository.main)


def test_a_gated_model_is_refused_when_it_is_planned(server, tiny, monkeypatch):
    server.models["meta/llama"] = Repository.of(tiny, gated="manual")
    line = rf"model 'meta/llama' is gated .* accept its licence at {server.url}/meta/llama"
    with pytest.raises(InputError, match=line):
        source_of("meta/llama")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(InputError, match="is gated and this machine has no access"):
        source_of("meta/llama")
    monkeypatch.setenv("HF_TOKEN", server.token)
    source = source_of("meta/llama")
    assert source.revision == server.models["meta/llama"].main
    assert (hub.snapshot_folder("meta/llama", source.revision) / "config.json").exists() is False
    fetch_config(source)
    assert (hub.snapshot_folder("meta/llama", source.revision) / "config.json").is_file()


def test_what_the_hub_lacks_is_refused(server, tiny):
    server.models["org/m"] = Repository.of(tiny)
    with pytest.raises(InputError, match="no model 'org/other' on the Hugging Face hub"):
        source_of("org/other")
    with pytest.raises(InputError, match="model 'org/m' has no revision 'v9'"):
        source_of("org/m", revision="v9")


@pytest.mark.parametrize("status", [500, 503, 429, 403, 407])
def test_a_hub_that_fails_is_asked_once_and_leaves_names_unresolved(server, status, monkeypatch):
    server.status = status
    found = [source_of(f"org/{name}") for name in "abc"]
    assert all(source.provisional for source in found)
    assert len(server.requests) == 1
    assert {source.note for source in found} == {models.LOOKUPS.why_unresolved()}
    assert f"can't be reached (HTTP status {status})" in found[0].note


def test_a_slow_hub_is_given_up(server, tiny, monkeypatch):
    server.models["org/m"] = Repository.of(tiny)
    server.delay_s = 1.0
    monkeypatch.setattr(hub, "TIMEOUTS_S", (0.2, 0.2, 0.2, 0.2))
    assert source_of("org/m").provisional
    assert "can't be reached (ReadTimeout)" in models.LOOKUPS.why_unresolved()


# Files.


def test_only_the_files_that_a_fit_reads_are_downloaded(server, tiny):
    server.models["org/m"] = Repository.of(sharded(tiny))
    source = fetch_model(source_of("org/m"))
    assert source.revision is None
    names = {path.name for path in hub.Path(source.location).iterdir()}
    assert "model-00002-of-00002.safetensors" in names
    assert not names & {"consolidated.safetensors", "onnx"}


def test_a_download_reports_its_progress(server, tiny, monkeypatch):
    monkeypatch.setattr("w2s_ray.data.fetch.REPORT_EVERY_S", 0.01)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    server.models["org/m"] = Repository.of(tiny)
    server.chunk_s = 0.02
    reports: list[tuple[int, int]] = []
    fetch_model(source_of("org/m"), progress=lambda *report: reports.append(report))
    total = len(tiny["model.safetensors"])
    assert {report[1] for report in reports} == {total}
    done = [report[0] for report in reports]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, total)
    assert len(set(done)) > 2
    reports.clear()
    fetch_model(source_of("org/m"), progress=lambda *report: reports.append(report))
    assert not reports


def test_trouble_of_the_network_is_retried_and_an_answer_is_final(server, tiny, monkeypatch):
    server.models["org/m"] = Repository.of(tiny)
    source = source_of("org/m")
    server.status = 503
    with pytest.raises(HubUnreachable, match="model org/m can't be downloaded") as unreachable:
        fetch_model(source)
    assert cause_of(unreachable.value) == "network"
    server.status = None
    server.models["org/m"].gated = "auto"
    with pytest.raises(InputError, match="is gated") as gated:
        fetch_model(source)
    assert cause_of(gated.value) == "error"
    del server.models["org/m"]
    with pytest.raises(InputError, match="correct the name or the revision") as gone:
        fetch_model(source)
    assert cause_of(gone.value) == "error"
    disconnect(server, monkeypatch)
    with pytest.raises(HubUnreachable):
        fetch_model(source)


def test_a_pinned_model_without_safetensors_is_refused_when_it_is_fetched(server):
    """A commit that was planned without a network, so that its files were unknown."""
    server.models["org/m"] = Repository.of(PICKLED)
    commit = server.models["org/m"].main
    source = ModelSource(
        name="m", location="org/m", revision=commit, identity=f"hub:org/m@{commit}"
    )
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        fetch_model(source)


def test_a_fetched_model_is_loaded_without_a_request(server, tiny):
    transformers = pytest.importorskip("transformers")
    from w2s_ray.learn.loading import load_config, load_weights

    server.models["org/m"] = Repository.of(sharded(tiny))
    source = fetch_model(source_of("org/m"))
    asked = len(server.requests)
    model = load_weights(transformers.AutoModelForCausalLM, source, load_config(source))
    assert sum(p.numel() for p in model.parameters()) > 1000
    assert len(server.requests) == asked


@pytest.mark.parametrize(
    ("status", "gated", "error", "cause"),
    [(503, False, HubUnreachable, "network"), (None, "auto", InputError, "error")],
)
def test_errors_of_transformers_are_classified(server, tiny, status, gated, error, cause):
    """A model that is loaded by its hub name, without having been fetched."""
    from w2s_ray.learn.loading import load_config

    server.models["org/m"] = Repository.of(tiny, gated=gated)
    server.status = status
    commit = server.models["org/m"].main
    source = ModelSource(name="m", location="org/m", revision=commit, identity="x")
    with pytest.raises(error) as raised:
        load_config(source)
    assert cause_of(raised.value) == cause


# Data sets.

ROWS = [{"text": f"tweet {i}", "label": float(i % 2)} for i in range(60)]


def parquet(rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def csv(rows) -> bytes:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    return "\n".join(lines).encode()


def test_labels_may_be_floats(server, task):
    files = {f"data/{split}-0.parquet": parquet(ROWS) for split in ("train", "test")}
    server.datasets["EleutherAI/twitter-sentiment"] = Repository.of(files)
    rows = read_rows(task(name="twitter_sentiment"), commit="main")
    assert [row.label for row in rows.pool[:4]] == [0, 1, 0, 1]


CARD = """---
configs:
- config_name: emotion
  data_files: [{split: train, path: emotion/train-*}, {split: test, path: emotion/test-*}]
- config_name: sentiment
  data_files:
  - {split: train, path: sentiment/train-*}
  - {split: validation, path: sentiment/validation-*}
  - {split: test, path: sentiment/test-*}
---
"""


@pytest.mark.parametrize(
    ("name", "dataset", "folder", "splits", "names"),
    [
        (
            "tweet_eval_sentiment",
            "cardiffnlp/tweet_eval",
            "sentiment",
            ("train", "validation", "test"),
            ("negative", "neutral", "positive"),
        ),
        (
            "ag_news",
            "fancyzhx/ag_news",
            "data",
            ("train", "test"),
            ("Business", "Sci/Tech", "Sports", "World"),
        ),
    ],
)
def test_sets_of_several_classes_have_their_names(
    server, task, name, dataset, folder, splits, names
):
    files = {
        f"{folder}/{split}-00000-of-00001.parquet": parquet(
            [{"text": f"{split} {i}", "label": i % len(names)} for i in range(60)]
        )
        for split in splits
    }
    if folder == "sentiment":
        files |= {f"emotion/{split}-0.parquet": parquet(ROWS) for split in ("train", "test")}
        files["README.md"] = CARD.encode()
    server.datasets[dataset] = Repository.of(files)
    declared = task(name=name, train=40, validation=10, test=20)
    found = split_ref(declared)
    assert not found.provisional
    assert (found.form, found.classes) == ("categories", names)
    rows = read_rows(declared, commit=server.datasets[dataset].main)
    assert len(rows.pool) == 60 * (len(splits) - 1)
    assert (rows.test or ())[2].answer == ("positive" if len(names) == 3 else "Business")


def pleasant(split) -> list[dict[str, str]]:
    return [
        {"baseline": f"Good {split} {i}", "less_pleasant": f"Bad {split} {i}"} for i in range(60)
    ]


def test_utilitarianism_is_read_from_its_csv_files_on_main(server, task):
    files = {f"data/utilitarianism/{s}.csv": csv(pleasant(s)) for s in ("train", "test")}
    repository = Repository.of({**files, "ethics.py": b"raise SystemExit"})
    server.datasets["hendrycks/ethics"] = repository
    declared = task(name="ethics_utilitarianism", train=40, validation=10, test=20)
    found = split_ref(declared)
    assert not found.provisional
    assert found.counts["test"] == 20
    rows = read_rows(declared, commit=repository.main)
    assert [(row.text, row.label) for row in rows.pool[:2]] == [
        ("First: Good train 0\nSecond: Bad train 0", 1),
        ("First: Bad train 0\nSecond: Good train 0", 0),
    ]


def test_a_data_set_is_read_again_without_a_network(server, task, monkeypatch):
    files = {f"data/utilitarianism/{s}.csv": csv(pleasant(s)) for s in ("train", "test")}
    server.datasets["hendrycks/ethics"] = Repository.of(files)
    declared = task(name="ethics_utilitarianism")
    found = split_ref(declared)
    disconnect(server, monkeypatch)
    assert split_ref(declared) == found
    again = inputs.load_split(declared, expected=found.fingerprint)
    assert again.counts == found.counts


def cosmos(split) -> list[dict[str, object]]:
    return [
        {"id": str(i), "context": f"{split} {i}", "question": "Q?", "label": i % 4}
        | {f"answer{n}": f"{n}" for n in range(4)}
        for i in range(40)
    ]


def test_known_commits_of_converted_data_sets_are_pinned(server, task):
    splits = ("train", "validation")
    files = {f"default/{split}/0000.parquet": parquet(cosmos(split)) for split in splits}
    commit = "ed50fe83db62b355759053b1cd5eef344ee371e0"
    repository = Repository({commit: files, commit_of("main"): {}}, {"main": commit_of("main")})
    server.datasets["allenai/cosmos_qa"] = repository
    found = split_ref(task(name="cosmos_qa"))  # the branch is gone; its commit is not
    assert not found.provisional
    assert f"/{commit}/" in "".join(server.requests)


def test_a_converted_branch_that_is_gone_names_another_source(server, task):
    server.datasets["ybisk/piqa"] = Repository.of({"piqa.py": b"raise SystemExit"})
    line = r"task piqa: dataset 'ybisk/piqa' has no revision .*hf download baber/piqa .*`path`"
    with pytest.raises(InputError, match=line):
        split_ref(task(name="piqa"))


def test_the_other_source_of_piqa_can_be_given_as_path(tmp_path, task):
    rows = [{"goal": f"G {i}", "sol1": "a", "sol2": "b", "label": i % 2} for i in range(40)]
    for split in ("train", "validation"):
        file = tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(parquet(rows))
    found = read_rows(task(name="piqa", path=str(tmp_path)))
    assert len(found.pool) == len(found.test or ()) == 80


def test_a_data_set_without_the_declared_files_names_another_source(server, task):
    server.datasets["CogComp/mc_taco"] = Repository(
        {commit_of("p"): {"other/file.parquet": b""}, commit_of("m"): {}},
        {"main": commit_of("m"), "refs/convert/parquet": commit_of("p")},
    )
    with pytest.raises(
        InputError, match=r"can't be loaded .*the authors' original files"
    ) as raised:
        split_ref(task(name="mc_taco"))
    assert not isinstance(raised.value, SourceUnavailable)


def test_a_failing_hub_leaves_a_pinned_data_set_unresolved(server, task):
    server.status = 503
    found = split_ref(task(name="cosmos_qa"))
    assert found.provisional
    assert "HTTP status 503" in found.note
    assert len(server.requests) == 1
