from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_parts import uncommented
from pydantic import ValidationError
from ruamel.yaml import YAML

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.configuration.config import Caller, Dicom, NodeConfig, Web, read_config

TEMPLATE = files("delineate.pipelines").joinpath("templates/node.yaml").read_text(encoding="utf-8")
SMALL = """
folder: data
callers: [{ae_title: ORTHANC}]
rules:
  - name: chest
    match: {modality: [CR, DX]}
    bundle: chest_xray
    send_to: archive
destinations:
  - {name: archive, host: 127.0.0.1, port: 4242, ae_title: ORTHANC}
"""


def read(folder: Path, text: str) -> NodeConfig:
    (folder / "node.yaml").write_text(text, encoding="utf-8")
    return read_config(folder / "node.yaml")


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(DelineateError) as error:
        read(folder, text)
    message = str(error.value)
    assert message.startswith(f"{folder / 'node.yaml'}: ")
    assert "\n" not in message
    return message.removeprefix(f"{folder / 'node.yaml'}: ")


def test_the_template_is_in_order_as_it_is_written(tmp_path: Path) -> None:
    config = read(tmp_path, TEMPLATE)
    assert config.folder == tmp_path
    assert config.callers == (Caller(ae_title="ORTHANC", address="127.0.0.1"),)
    assert config.health.address == "127.0.0.1"
    assert not config.audit.patient_names


def test_the_template_says_the_values_that_are_used_without_it(tmp_path: Path) -> None:
    written, plain = read(tmp_path, TEMPLATE), NodeConfig(folder=tmp_path)
    examples = {"callers", "destinations", "folder"}
    assert {name: value for name, value in written if name not in examples} == {
        name: value for name, value in plain if name not in examples
    }


def test_the_template_is_in_order_without_its_comment_signs(tmp_path: Path) -> None:
    config = read(tmp_path, uncommented(TEMPLATE))
    assert [rule.name for rule in config.rules] == ["chest"]
    assert [type(each) for each in config.destinations] == [Dicom, Web]
    assert config.tls is not None
    assert config.watch == (tmp_path / "../to-segment",)
    bare = NodeConfig(folder=tmp_path)
    rule = config.rules[0]
    assert (rule.formats, rule.seg_type, rule.settings, rule.trust) == (("seg",), "binary", {}, False)
    assert config.limits == bare.limits


def test_every_key_stands_in_the_template() -> None:
    uncommented = TEMPLATE.replace("#", " ")
    for model in (
        NodeConfig,
        *(f.annotation for f in NodeConfig.model_fields.values() if hasattr(f.annotation, "model_fields")),
    ):
        assert not [name for name in model.model_fields if f"{name}:" not in uncommented]  # type: ignore[union-attr]


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir("/")
    extra = "tls: {certificate: a.crt, key: /b.key, client_certificate: false}\nwatch: in\n"
    config = read(tmp_path, SMALL.replace("chest_xray", "runs") + extra)
    assert config.folder == tmp_path / "data"
    assert config.watch == (tmp_path / "in",)
    assert config.tls is not None
    assert (config.tls.certificate, config.tls.key) == (tmp_path / "a.crt", Path("/b.key"))
    assert config.rules[0].bundle == str(tmp_path / "runs")


def test_a_bundle_may_be_named_or_be_a_path(tmp_path: Path) -> None:
    assert read(tmp_path, SMALL).rules[0].bundle == "chest_xray"
    assert read(tmp_path, SMALL.replace("chest_xray", "../x")).rules[0].bundle == str(tmp_path / "../x")


def test_a_folder_stands_for_the_file_in_it(tmp_path: Path) -> None:
    assert read(tmp_path, SMALL) == read_config(tmp_path)


def test_one_value_stands_for_a_list_of_it(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL.replace("[CR, DX]", "CR"))
    assert config.rules[0].match.modality == ("CR",)
    assert config.rules[0].send_to == ("archive",)


def test_a_key_whose_values_are_all_comments_has_none(tmp_path: Path) -> None:
    config = read(tmp_path, "folder: .\nrules:\n#  - name: chest\nlimits:\n")
    assert config.rules == ()
    assert config.limits.attempts == 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("modality", "modalty", "rules[0].match.modalty: there is no such key; did you mean 'modality'"),
        ("folder: data", "folder: data\nrool: []", "rool: there is no such key; there are: address, ae_title, "),
        ("port: 4242", "prt: 4242", "destinations[0].prt: there is no such key; did you mean 'port' (and 1 more; "),
        ("port: 4242", "port: 4242, tsl: 1", "destinations[0].tsl: there is no such key; there are: "),
        ("folder: data", "port: 1", "folder: is missing; write it"),
        ("port: 4242", "port: 70000", "destinations[0].port: is 70000; it must be less than or equal to 65535"),
        ("port: 4242", "port: '4242x'", "destinations[0].port: is '4242x'; it must be a valid integer, "),
        ("folder: data", "folder: data\nport: 11180", "health.port: is 11180, as port is; two services need two ports"),
        ("send_to: archive", "send_to: archiv", "rules[0].send_to: no destination is called 'archiv'; did you mean "),
        ("send_to: archive", "send_to: [x]", "rules[0].send_to: no destination is called 'x'; there are: archive"),
        ("[{ae_title: ORTHANC}]", "[{ae_title: A23456789012345678}]", "callers[0].ae_title: is 'A2345"),
        ("[{ae_title: ORTHANC}]", "[{ae_title: ' '}]", "callers[0].ae_title: is ' '; an AE title has 1 to 16 "),
        ("[{ae_title: ORTHANC}]", "[{ae_title: 12}]", "callers[0].ae_title: is 12; it must be a valid string"),
        ("ORTHANC}]", "A, address: 10.0.0.256}]", "callers[0].address: is '10.0.0.256'; it must be an IP address, a "),
        ("name: chest", "name: ../chest", "rules[0].name: is '../chest'; a name has letters, digits, "),
        ("send_to", "seg_type: bin\n    send_to", "rules[0].seg_type: is 'bin'; it must be 'binary', 'fractional' or "),
        ("send_to", "formats: [seg, png]\n    send_to", "rules[0].formats[1]: is 'png'; it must be 'seg', 'sc' "),
        ("send_to", "formats: []\n    send_to", "rules[0].formats: is not in order; it must have at least 1 item"),
        ("folder: data", "folder: data\nfolder: x", "line 3, column 1: found duplicate key \"folder\""),
        ("[CR, DX]", "[CR, DX", "line 6, column "),
        ("folder: data", "folder: data\ntls: {certificate: a, key: b}", "tls: is not in order; client_certificate "),
        ("host: 127.0.0.1, port: 4242, ae_title: ORTHANC", "url: ftp://x", "destinations[0].url: is 'ftp://x'; it "),
        ("ae_title: ORTHANC}\n", "ae_title: ORTHANC, tls: {key: a}}\n", "destinations[0].tls: is not in order; "),
        ("folder: data", "folder: data\nlimits: {job_seconds: .inf}", "limits.job_seconds: is inf; it must be a "),
        ("folder: data", "folder: data\nlimits: [1]", "limits: is not in order; it must be a valid dictionary or "),
    ],
)  # fmt: skip
def test_what_is_not_in_order_is_told_in_one_line(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in SMALL
    assert refusal(tmp_path, SMALL.replace(before, after, 1)).startswith(message)


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    rule = "  - {name: chest, bundle: nerve}\n"
    assert refusal(tmp_path, SMALL.replace("destinations", rule + "destinations")).startswith(
        "rules: 2 are called 'chest'"
    )
    twice = SMALL + "  - {name: archive, url: 'https://x/y'}\n"
    assert refusal(tmp_path, twice).startswith("destinations: 2 are called 'archive'")


@pytest.mark.parametrize("text", ["", "- a\n", "just words", "\x00", "a: &x [*x]"])
def test_what_is_no_configuration_is_refused(text: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="there is no such file; 'delineate node init DIR' writes one"):
        read_config(tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DelineateError, match="is no UTF-8 text"):
        read_config(tmp_path)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from([*NodeConfig.model_fields, "x", "name", "bundle", "url"]) | st.text(max_size=5)
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)


@settings(deadline=None, max_examples=60)
@given(tree=st.dictionaries(KEYS, TREES, max_size=6))
def test_whatever_is_written_is_read_or_refused_in_one_line(
    tree: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    with file.open("w", encoding="utf-8", errors="backslashreplace") as stream:
        YAML(typ="safe", pure=True).dump({"folder": ".", **tree}, stream)
    message = ""
    try:
        read_config(file)
    except DelineateError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
    assert "\x1b" not in message


@pytest.mark.parametrize("address", ["*", "10.0.0.7", "10.1.0.0/16", "::1", "10.1.2.3/16"])
def test_callers_come_from_addresses_and_networks(address: str) -> None:
    assert Caller(ae_title="*", address=address)


def test_a_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL)
    with pytest.raises(ValidationError):
        config.port = 1  # type: ignore[misc]


def test_rules_and_destinations_are_found_by_name(tmp_path: Path) -> None:
    config = read(tmp_path, SMALL)
    assert config.rule("chest") is config.rules[0]
    assert config.destination("archive") is config.destinations[0]
    assert config.rule("x") is config.rule(None) is config.destination("x") is None
