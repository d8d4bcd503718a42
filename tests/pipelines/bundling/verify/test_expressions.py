from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.bundling.verify.expressions import expression_problem, references

ALLOWED = [
    "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "$monai.utils.set_determinism(seed=@seed)",
    "$@train::trainer.run()",
    "$@bundle_root + '/evaluation'",
    "$@to_grid + @to_network",
    "$@max_epochs * len(@train::dataloader)",
    "$@network_def.to(@device)",
    "$@network.parameters()",
    "$torch.float32",
    "$monai.handlers.from_engine(['pred', 'label'])",
    "$@validate::evaluator.state.epoch",
    "$list(@history.keys())",
    "$@train::dataset[0]['image'].shape[1:]",
    "$not @resume and 1 < @epochs <= 3",
    "$-1 + 2 // 3 % 4",
    "${'a': @b, 'c': (1, 2)}",
    "$ 1 + 1",
    "$@a if @b is None else [@c, max(@d, 0)]",
]

HOSTILE = [
    # out of a literal
    "$().__class__.__bases__[0].__subclasses__()",
    "$''.__class__",
    "$[].append(1)",
    "$'{0.__class__}'.format(@a)",
    "$'%s'.join(@a)",
    # builtins
    "$eval('1')",
    "$exec('1')",
    "$open('/etc/passwd').read()",
    "$getattr(torch, 'load')('x')",
    "$setattr(@a, 'b', 1)",
    "$globals()",
    "$vars(@a)",
    "$type(@a)",
    "$breakpoint()",
    "$print(@a)",
    "$__import__('os').system('true')",
    "$__local_refs['a']",
    "$int",
    # what hangs off the modules in reach
    "$torch",
    "$torch.load('models/model.pt')",
    "$torch.jit.load('x')",
    "$torch.hub.load('a/b', 'c')",
    "$torch.os.system('true')",
    "$torch.sys.modules",
    "$torch.ops.load_library('x.so')",
    "$torch.classes.load_library('x.so')",
    "$torch.serialization.os.system('true')",
    "$torch.serialization.pickle.loads('')",
    "$torch.utils.cpp_extension.load('x', 'y')",
    "$torch.cuda.is_available.__globals__",
    "$torch.device.mro()",
    "$monai.bundle.run(config_file='x')",
    "$monai.bundle.ConfigParser",
    "$monai.utils.run_cmd(['true'])",
    "$monai.utils.instantiate('os.system', 'default', command='true')",
    "$monai.data.utils.pickle.loads('')",
    "$monai.transforms.Lambda(func=@f)",
    "$np.load('x.npy', allow_pickle=True)",
    "$numpy.f2py.os.system('true')",
    "$np.lib.npyio.os",
    "$os.system('true')",
    # by way of a reference
    "$@a.__class__",
    "$@a._modules",
    "$@a.run.__func__.__globals__",
    "$@a.parameters().gi_frame.f_builtins['eval']('1')",
    "$@a.eval()",
    "$@a()",
    "$@a['b']()",
    "$(@a or @b)()",
    "$(1).run()",
    "$'x'.to(@a)",
    "$(torch.device).run()",
    "$len(torch.os)",
    "$@a[torch.os]",
    "$dict(a=torch.sys)",
    "$@a.to(eval)",
    "${'a': torch.os}",
    "${torch.os: 1}",
    # other kinds of Python
    "$import os",
    "$from os import system",
    "$lambda: 1",
    "$(lambda: 1)()",
    "$[x for x in @a]",
    "${x for x in @a}",
    "${x: 1 for x in @a}",
    "$list(x for x in @a)",
    "$(x := 1)",
    "$f'{@a}'",
    "$len(*@a)",
    "$dict(**@a)",
    "${**@a}",
    "$await @a",
    "$(yield 1)",
    "$9 ** 9 ** 9",
    "$1 << 99",
    "$b'bytes'",
    "$1j",
    "$...",
    "$a = 1",
    "$1; 2",
    "$",
    "$@a @ @b",
    "$'@a'",
    "$1 # comment",
    "$@a#b",
    "$@__a",
    "$@::a",
    "$'%::a'",
    "$@a %::b",
    "$'\0'",
    "$\uff45val('1')",
    "$" + "(" * 300 + ")" * 300,
    "$" + "-" * 990 + "1",
    "$" + "1+" * 600 + "1",
]


@pytest.mark.parametrize("expression", ALLOWED)
def test_what_bundles_need_is_allowed(expression: str) -> None:
    assert expression_problem(expression) is None


@pytest.mark.parametrize("expression", HOSTILE)
def test_what_could_run_code_is_refused(expression: str) -> None:
    assert expression_problem(expression)


def test_a_near_miss_is_answered_with_the_closest_name() -> None:
    assert "did you mean 'torch.cuda.is_available'" in str(expression_problem("$torch.cuda.is_availabel()"))


def test_references_are_those_of_monai() -> None:
    from monai.bundle import ReferenceResolver

    for value in [*ALLOWED, *HOSTILE, "@a", "@a::b::0", "@a#b", "a@b", "@", "@a b", "@::c", "plain"]:
        assert set(references(value)) == set(ReferenceResolver.match_refs_pattern(value)), value


PIECES = [
    "@a",
    "@b::c",
    "torch",
    "np",
    ".",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "1",
    "'x'",
    "*",
    "**",
    "lambda",
]
PIECES += [
    "__class__",
    " if ",
    " else ",
    " for x in ",
    "x",
    "run",
    "os",
    "=",
    ":=",
    "not ",
    "@",
    "#",
    "\n",
    "\0",
]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text())
def test_no_text_makes_the_checker_crash(text: str) -> None:
    problem = expression_problem("$" + text)
    assert problem is None or problem


@given(st.recursive(st.sampled_from(["1", "'x'", "@a", "torch.float32"]), lambda inner: st.one_of(
    st.tuples(inner, inner).map(lambda pair: f"({pair[0]} + {pair[1]})"),
    st.lists(inner, min_size=1, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    inner.map(lambda item: f"len({item})"),
), max_leaves=8), st.sampled_from(["eval", "torch.os", "().__class__", "lambda: 1", "@a._b"]))  # fmt: skip
def test_a_hostile_part_is_found_wherever_it_stands(good: str, bad: str) -> None:
    assert expression_problem(f"${good}") is None
    assert expression_problem(f"$[{good}, {bad}]")
    assert expression_problem("$" + good.replace("1", f"({bad})", 1) if "1" in good else f"$({bad})")
