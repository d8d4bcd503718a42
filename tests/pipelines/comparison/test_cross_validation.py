from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.comparison import cross_validation as module
from delineate.pipelines.comparison.cross_validation import CrossValidation, FoldJob, cross_validate
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.phantoms.images import write_phantoms


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    index_dataset(write_phantoms(folder / "phantoms", 12), out=folder / "dataset")
    return folder / "dataset"


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which folds are trained and judged; here none is."""
    begun: list[str] = []

    def in_its_process(job: FoldJob, prepare: Any) -> str | None:
        if job.is_done:
            return None
        begun.append(str(job))
        if job.fold == 1 and len(begun) == 2:
            return "out of memory"
        (job.folder / "evaluation").mkdir(parents=True, exist_ok=True)
        facts = {"data_hash": Datalist.read(job.folder / "dataset").hash}
        (job.folder / "evaluation" / "metrics.json").write_text(json.dumps(facts))
        return None

    monkeypatch.setattr(module, "_in_its_process", in_its_process)
    monkeypatch.setattr(module, "_conclude", lambda *_: {"count": 1})
    return begun


def validate(dataset: Path, out: Path, **options: Any) -> CrossValidation:
    return cross_validate("skin_lesion", dataset, out, **({"folds": 3} | options))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"folds": 1}, "give two or more"),
        ({"folds": 50}, "50 folds of 12 groups"),
        ({"seeds": []}, "the seeds are none"),
        ({"seeds": [1, 1]}, "give each once"),
        ({"seeds": [-1]}, "give each once"),
        ({"settings": {"seed": 3}}, "decides on seed"),
        ({"settings": {"learning_rat": 3}}, "did you mean 'learning_rate'"),
        ({"network": "unett"}, "did you mean 'unet'"),
    ],
    ids=str,
)
def test_what_would_fail_later_is_refused_at_once(
    wrong: dict[str, Any], message: str, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(DelineateError, match=message):
        validate(dataset, tmp_path / "out", **wrong)
    assert not list((tmp_path / "out").glob("*/run"))


def test_a_fold_that_fails_is_named_and_the_others_go_on(dataset: Path, tmp_path: Path, judged: list[str]) -> None:
    found = validate(dataset, tmp_path / "out")
    assert judged == ["fold 0, seed 0", "fold 1, seed 0", "fold 2, seed 0"]
    assert found.errors == {"fold 1, seed 0": "out of memory"}
    assert [run.parent.name for run in found.runs] == ["fold_0", "fold_2"]
    assert found.scores is None


def test_the_same_command_again_does_what_is_not_done(dataset: Path, tmp_path: Path, judged: list[str]) -> None:
    validate(dataset, tmp_path / "out")
    judged.clear()
    found = validate(dataset, tmp_path / "out")
    assert judged == ["fold 1, seed 0"]
    assert (found.errors, found.scores) == ({}, {"count": 1})


def test_a_fold_that_is_divided_otherwise_by_now_is_not_done(dataset: Path, tmp_path: Path, judged: list[str]) -> None:
    """As where an audit has found duplicates meanwhile."""
    validate(dataset, tmp_path / "out")
    evaluated = tmp_path / "out/fold_0/evaluation/metrics.json"
    evaluated.write_text(json.dumps({"data_hash": "of before"}))
    judged.clear()
    validate(dataset, tmp_path / "out")
    assert "fold 0, seed 0" in judged


def test_other_terms_are_refused(dataset: Path, tmp_path: Path, judged: list[str]) -> None:
    validate(dataset, tmp_path / "out")
    with pytest.raises(DelineateError, match=r"begun with other folds \(folds: 3, now 4\)"):
        validate(dataset, tmp_path / "out", folds=4)


def test_each_seed_has_folds_of_its_own(dataset: Path, tmp_path: Path, judged: list[str]) -> None:
    validate(dataset, tmp_path / "out", seeds=[0, 7], folds=2)
    lists = [tmp_path / "out" / f"seed_{seed}/fold_0/dataset/datalist.json" for seed in (0, 7)]
    tests = [{entry["image"] for entry in json.loads(path.read_text())["test"]} for path in lists]
    assert tests[0] != tests[1]
    assert judged[:3] == ["fold 0, seed 0", "fold 1, seed 0", "fold 0, seed 7"]


def test_folds_of_the_data_set_that_leak_are_refused(
    tmp_path: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the audit found is told beside the data set alone, not beside those of the folds."""
    index_dataset(write_phantoms(tmp_path / "phantoms", 12), out=tmp_path / "dataset", folds=3)

    def leaks(data: Path, _: Any) -> None:
        raise DelineateError(f"{data.name} leaks")

    monkeypatch.setattr(module, "refuse_leaks", leaks)
    with pytest.raises(DelineateError, match="dataset leaks"):
        validate(tmp_path / "dataset", tmp_path / "out", folds=None)
    assert judged == []
    assert validate(tmp_path / "dataset", tmp_path / "new_folds", folds=2).runs


def test_the_audit_of_the_data_set_is_told_once_for_all_folds(
    dataset: Path, tmp_path: Path, judged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "delineate")
    validate(dataset, tmp_path / "out")
    assert [line for line in caplog.messages if "audited" in line] == [
        f"{dataset} has not been audited since it was indexed; to look for duplicates and leaks: "
        f"delineate data audit {dataset}"
    ]


def test_folds_are_trained_with_the_images_without_masks_where_that_is_asked(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[FoldJob] = []
    monkeypatch.setattr(module, "_in_its_process", lambda job, prepare: jobs.append(job))
    monkeypatch.setattr(module, "_conclude", lambda *_: {"count": 1})
    validate(dataset, tmp_path / "with", use_unlabelled=True)
    validate(dataset, tmp_path / "without")
    assert [job.use_unlabelled for job in jobs] == [True] * 3 + [False] * 3
    with pytest.raises(DelineateError, match="begun with other use_unlabelled"):
        validate(dataset, tmp_path / "with")
    used: list[bool] = []
    monkeypatch.setattr(module, "train", lambda *_, use_unlabelled, **__: used.append(use_unlabelled))
    monkeypatch.setattr(module, "evaluate", lambda *_, **__: None)
    module.train_fold(jobs[0])
    assert used == [True]


def test_a_cross_validation_of_before_there_was_the_choice_goes_on(
    dataset: Path, tmp_path: Path, judged: list[str]
) -> None:
    validate(dataset, tmp_path / "out")
    terms = json.loads((tmp_path / "out/cross_validation.json").read_text())
    del terms["use_unlabelled"]
    (tmp_path / "out/cross_validation.json").write_text(json.dumps(terms))
    assert validate(dataset, tmp_path / "out").errors == {}
