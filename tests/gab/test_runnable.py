"""What can run of a module: judged and loaded are the same tree, and the rest runs nowhere."""

# ruff: noqa: E501  (a module on a line)

import ast

import pytest

from genesys_engine.gab.checks import static
from genesys_engine.gab.checks.report import CheckReport
from genesys_engine.gab.checks.runnable import runnable
from genesys_engine.gab.checks.sourcemap import SourceMap
from genesys_engine.gab.compose import load_block
from genesys_engine.gab.raised import describe

BLOCK = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, embed_dim, block_loc, device=None, dtype=None):
        super().__init__()
        self.mix = nn.GRU(embed_dim, embed_dim, batch_first=True, device=device, dtype=dtype)

    def forward(self, X, **Z):
        return X + self.mix(X)[0], Z

"""

# Each would raise where it ran, and holds what no block may do.
NEVER = {
    "self test": "if __name__ == '__main__':\n    import os\n    os.abort()",
    "turned round": "if '__main__' == __name__:\n    import os\n    os.abort()",
    "one of several": "if __name__ in ('__main__',):\n    import os\n    os.abort()",
    "else branch": "if __name__ != '__main__':\n    pass\nelse:\n    import os\n    os.abort()",
    "elif": "if 0:\n    pass\nelif __name__ == '__main__':\n    import os\n    os.abort()",
    "not": "if not __name__ == '__main__':\n    pass\nelse:\n    import os\n    os.abort()",
    "and": "if __name__ == '__main__' and torch.ones(1):\n    import os\n    os.abort()",
    "under a name": "MAIN = __name__ == '__main__'\nx = 1 if MAIN else 2\nassert x == 2",
    "switch": "DEBUG = False\nif DEBUG:\n    import pdb\n    pdb.set_trace()",
    "in a function": "def f():\n    if __name__ == '__main__':\n        import os\n    return 1\nf()",
    "short circuit": "__name__ == '__main__' and exec('1 / 0')",
    "function of the test": (
        "import os\nimport time as t\n\ndef main():\n    os.abort()\n    t.sleep(helper())\n\n"
        "def helper():\n    return exec('1')\n\nif __name__ == '__main__':\n    main()"
    ),
    "class of the test": (
        "import unittest\n\nclass Test(unittest.TestCase):\n    def test(self):\n        eval('1')\n\n"
        "if __name__ == '__main__':\n    unittest.TextTestRunner().run(Test())"
    ),
    "decorated function of the test": (
        "import time\n\n@torch.no_grad()\ndef main():\n    time.sleep(1)\n    exec('1')\n\n"
        "if __name__ == '__main__':\n    main()"
    ),
    "type checking": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\n    1 / 0",
    "type checking by module": "import typing as t\nif t.TYPE_CHECKING:\n    import os\n    1 / 0",
    "type checking under a name": (
        "from typing import TYPE_CHECKING as T\nif not T:\n    x = 1\nelse:\n    import os\nassert x"
    ),
    "type checking twice": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\n"
        "def f():\n    from typing import TYPE_CHECKING\n    if TYPE_CHECKING:\n        import sys"
    ),
    "type checking of old": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import os\n    1 / 0",
}

OPTIONAL = {
    "flag": "try:\n    import os\n    HAS = True\nexcept ImportError:\n    HAS = False\nassert not HAS",
    "else": "try:\n    import os\nexcept ImportError:\n    H = 0\nelse:\n    H = 1\nassert not H",
    "narrow": "try:\n    from os import abort\nexcept ModuleNotFoundError:\n    abort = None\nassert abort is None",
    "wide": "try:\n    import os\n    os.abort()\nexcept Exception as e:\n    print(e)",
    "bare": "try:\n    import os\n    os.abort()\nexcept:\n    pass",
    "tuple": "try:\n    import os\n    os.abort()\nexcept (ImportError, OSError):\n    pass",
    "under a condition": "try:\n    if torch.ones(1):\n        import os\n        os.abort()\nexcept ImportError:\n    pass",
    "in a function": "def f():\n    try:\n        import os\n    except ImportError:\n        return 1\nassert f() == 1",
    "second try": "try:\n    import os\nexcept ImportError:\n    try:\n        import sys\n    except ImportError:\n        sys = 5\nassert sys == 5",
}

COMPILED = {
    "decorator": "@torch.compile\ndef f(x):\n    return x + 1\nassert f(1) == 2",
    "options": "@torch.compile(fullgraph=True)\ndef f(x):\n    return x + 1\nassert f(1) == 2",
    "partial": "import functools\n@functools.partial(torch.compile, dynamic=True)\ndef f(x):\n    return x + 1\nassert f(1) == 2",
    "call": "f = torch.compile(lambda x: x + 1, mode='max-autotune')\nassert f(1) == 2",
    "alias": "from torch import compile as c\nf = c(lambda x: x + 1)\nassert f(1) == 2",
    "module alias": "import torch as t\nf = t.compile(model=lambda x: x + 1)\nassert f(1) == 2",
    "value": "c = torch.compile\nf = c(lambda x: x + 1)\nassert f(1) == 2",
    "if it is there": "if hasattr(torch, 'compile'):\n    f = getattr(torch, 'compile')(lambda x: x + 1)\nassert f(1) == 2",
    "method": "layer = nn.Linear(2, 2)\nlayer.compile(fullgraph=True)\nlayer(torch.ones(1, 2))",
    "on a method": "class Inner(nn.Module):\n    @torch.compile(dynamic=False)\n    def forward(self, x):\n        return x\nInner()(torch.ones(1))",
}


def found(source):
    return static.check_source(source, SourceMap(source))


@pytest.mark.parametrize("name", NEVER)
def test_code_that_never_runs_is_neither_judged_nor_run(name):
    source = BLOCK + NEVER[name] + "\n"
    assert [str(each) for each in found(source)] == []
    assert load_block(source)(16, (0, 1))(__import__("torch").ones(1, 3, 16))


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_import_counts_as_not_installed(name):
    source = BLOCK + OPTIONAL[name] + "\n"
    assert {(each.code, each.severity) for each in found(source)} == {
        ("static.left_out", "warning")
    }
    load_block(source)


@pytest.mark.parametrize("name", COMPILED)
def test_compiling_is_the_identity(name, monkeypatch):
    import torch

    monkeypatch.setattr(torch, "compile", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **__: 1 / 0)
    source = BLOCK + COMPILED[name] + "\n"
    (said,) = found(source)
    assert (said.code, said.severity) == ("static.left_out", "warning")
    load_block(source)


RUNS = {
    "the other branch": "if __name__ != '__main__':\n    import os",
    "another name": "if __name__ == 'block':\n    import os",  # unknown, so that it is judged
    "a name that is bound": "__name__ = '__main__'\nif __name__ == '__main__':\n    import os",
    "a name bound twice": "T = False\nT = True\nif T:\n    import os",
    "a name bound in a loop": "T = False\nfor T in (True,):\n    if T:\n        import os",
    "a name that a parameter binds": "T = False\ndef f(T):\n    if T:\n        import os\nf(1)",
    "a name that is a global": (
        "T = False\ndef f():\n    global T\n    T = True\nf()\nif T:\n    import os"
    ),
    "another type checking": "from math import pi as TYPE_CHECKING\nif TYPE_CHECKING:\n    import os",
    "type checking bound again": (
        "from typing import TYPE_CHECKING\nTYPE_CHECKING = True\nif TYPE_CHECKING:\n    import os"
    ),
    "an import that nothing uses": "import os",
    "a function that nothing calls": "def f():\n    import os",
    "an import of both": "import os\nos.sep\nif __name__ == '__main__':\n    os.abort()",
    "an import that is needed": "try:\n    import os\nexcept ImportError:\n    raise",
    "an import that is needed after all": (
        "try:\n    import os\nexcept ImportError as e:\n    raise RuntimeError from e"
    ),
    "an import in a handler": "try:\n    import torch\nexcept ImportError:\n    import os",
    "an import under another error": "try:\n    import os\nexcept ValueError:\n    pass",
    "an error of another name": (
        "class ImportError(Exception):\n    pass\ntry:\n    import os\nexcept ImportError:\n    pass"
    ),
    "a function in a try": (
        "try:\n    def f():\n        import os\nexcept ImportError:\n    pass\nf()"
    ),
    "in a finally": "try:\n    pass\nexcept ImportError:\n    pass\nfinally:\n    import os",
}


@pytest.mark.parametrize("name", RUNS)
def test_what_may_run_is_judged(name):
    errors = {each.code for each in found(BLOCK + RUNS[name] + "\n") if each.severity == "error"}
    assert "static.import" in errors


def test_no_number_of_warnings_hides_an_error():
    unused = "".join(f"        self.u{i} = nn.Linear(1, 1)\n" for i in range(30))
    source = BLOCK.replace("super().__init__()\n", "super().__init__()\n" + unused)
    source += "@torch.compile\ndef f(x):\n    return x\n" * 12 + "import os\n"
    codes = static.check_static(source, "Block", SourceMap(source))
    assert not CheckReport(tuple(codes)).passed
    assert codes[0].code == "static.import"


def test_lines_stay_and_ordinary_code_stays_as_it_is():
    assert ast.dump(runnable(BLOCK).module) == ast.dump(ast.parse(BLOCK))
    source = BLOCK + "if __name__ == '__main__':\n    pass\nx = 1 / 0\n"
    with pytest.raises(ZeroDivisionError) as caught:
        load_block(source)
    lines = SourceMap(source).place_of_error(describe(caught.value))
    assert lines == (None, source.count("\n"))
