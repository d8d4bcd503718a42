from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.bundling.verify.config import MISSING, Config, ConfigError, look_up, read_config


def read(folder: Path, text: str | bytes, name: str = "a.yaml") -> Config:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_config(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: ]", 2),
        ("a: 1\na: 2", 2),
        ("a: {b: 1, b: 2}", 1),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", 2),
        ("a: !custom 1", 1),
        ("a: &x 1\nb: *x", 1),
        ("a:\n  <<: {b: 1}", 2),
        ("? [1, 2]\n: 3", 1),
        ("- 1", 1),
        ("", 1),
        ("a: 2026-99-99", 1),
        ("1: 2", 1),
        ("a: 1\n---\nb: 2", 2),
        ("a: " + "[" * 60 + "]" * 60, 1),
        ("a: " + "[" * 100_000, 1),
        ("#" * (2 << 20), 1),
        (b"a: \xff\xfe", 1),
    ],
)
def test_yaml_that_is_wrong_or_too_clever_is_refused_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["{", '{"a": 1, "a": 2}', "[]", "[" * 100_000, '{"a":' * 60 + "1" + "}" * 60])
def test_json_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, text, "a.json")


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_every_item_knows_its_line(tmp_path: Path, name: str) -> None:
    config = read(tmp_path, '{\n"a": {\n"b": [1,\n2]},\n"c": "x"}', name)
    assert [config.line(id_) for id_ in ("a", "a::b", "a::b::1", "c", "a::b::7::x", "none")] == [
        2,
        3,
        4,
        5,
        3,
        1,
    ]


def test_paths_and_merges_are_put_in_place_as_monai_does(tmp_path: Path) -> None:
    from monai.bundle import ConfigParser

    text = "a: {b: [1], c: 2}\na::b::0: 3\na#c: 4\n+a: {g: 6}\nl: [1]\n+l: [2]\n"
    config = read(tmp_path, text)
    assert config.data == ConfigParser.load_config_files(str(tmp_path / "a.yaml"))
    assert (config.line("a::c"), config.line("a::g")) == (3, 4)


def test_a_path_into_the_file_below_makes_its_own_place(tmp_path: Path) -> None:
    assert read(tmp_path, "d::e::f: 5").data == {"d": {"e": {"f": 5}}}


def test_macros_are_replaced_by_what_they_name(tmp_path: Path) -> None:
    config = read(tmp_path, "a: {b: [1, 2]}\nc: '%a::b'\nd: '%none'\n")
    assert config.expanded == {"a": {"b": [1, 2]}, "c": [1, 2], "d": "%none"}


def test_references_are_resolved_down_to_literals(tmp_path: Path) -> None:
    config = read(tmp_path, "a: {b: '@c', _desc_: x}\nc: ['@d']\nd: 5\ne: $@d + 1\n")
    assert config.resolved("a") == {"b": [5]}
    assert config.resolved("e") == read(tmp_path, "e: $@x + 1\nx: 5").resolved("e")
    assert config.resolved("e") != read(tmp_path, "e: $@x + 1\nx: 6").resolved("e")
    assert config.resolved("f") is MISSING


def test_references_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    config = read(tmp_path, "a: '@b'\nb: ['@a', '$@a + @b']\n")
    assert config.resolved("a")


@pytest.mark.parametrize("item", ['["@a{0}", "@a{0}"]', "$@a{0} + @a{0}"])
def test_references_that_multiply_without_end_are_refused(tmp_path: Path, item: str) -> None:
    lines = [f"a{i}: {item.format(i + 1)}" for i in range(40)]
    with pytest.raises(ConfigError, match="without end"):
        read(tmp_path, "\n".join([*lines, "a40: 1"])).resolved("a0")


def test_macros_that_multiply_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without end"):
        read(tmp_path, f"a: {[1] * 1000}\nb: {['%a'] * 1000}\n")


def test_an_id_is_looked_up_through_mappings_and_lists() -> None:
    data = {"a": [{"b": 1}], 2: "two"}
    assert [look_up(data, id_) for id_ in ("a::0::b", "2")] == [1, "two"]
    assert all(look_up(data, id_) is MISSING for id_ in ("a::1", "a::x", "a::0::b::c", "", "b"))
