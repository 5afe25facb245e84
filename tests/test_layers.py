"""The shape of the package, read from its source: imports point down, nothing heavy loads early, files stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "slmtk"

# From the top down; a module imports from lower rows and from its own package, never from its row's neighbours.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("stages",),
    ("engines", "models", "report", "testing"),
    ("data",),  # prompts and vocabulary, which a model carries
    ("speakers", "asr", "metrics"),  # a codec's own vector of who speaks is one; weights are found in one way
    ("codecs",),
    ("synthesis",),  # voices without recordings, from which a codec may learn its tables
    ("shards", "corpus"),
    ("layout", "audio", "plugins", "config", "device", "quiet", "voice"),
    ("spec", "progress"),
    ("errors",),
)
RANK = {name: rank for rank, row in enumerate(reversed(LAYERS)) for name in row}
HEAVY = {"torch", "torchaudio", "transformers", "accelerate", "datasets", "pyarrow", "numpy", "pandas", "scipy"}
HEAVY |= {"soundfile", "jiwer", "resemblyzer", "pyworld", "pocketsphinx", "espeakng_loader", "huggingface_hub"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str:
    """`slmtk.codecs.world.codec` -> "codecs"; `slmtk` itself -> ""."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.AST, package: str) -> list[tuple[int, str]]:
    """(line, module) of every import that runs, those inside functions too; those under TYPE_CHECKING do not run."""
    found: list[tuple[int, str]] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            found += [hit for child in node.orelse for hit in imported_modules(child, package)]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: -node.level + 1 or None]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            # `from slmtk import audio` imports slmtk.audio.
            found += [(node.lineno, f"{module}.{a.name}" if module == "slmtk" else module) for a in node.names]
        else:
            found += imported_modules(node, package)
    return found


def top_level_imports(tree: ast.Module) -> list[tuple[int, str]]:
    """Imports that run when the module is imported."""
    without_functions = ast.Module(
        [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))], []
    )
    return imported_modules(without_functions, "")


def wrong_imports(module: str, source: str) -> list[str]:
    """Lines naming each import of ``module`` that does not point down."""
    own = layer_of(module)
    wrong = []
    for line, target in imported_modules(ast.parse(source), module.rpartition(".")[0]):
        theirs = layer_of(target)
        if target.split(".")[0] != "slmtk" or theirs in ("", own) or target == "slmtk.__version__":
            continue
        if theirs not in RANK:
            wrong.append(f"{module}:{line} imports {target}, which has no layer")
        elif RANK[theirs] >= RANK[own]:
            wrong.append(f"{module}:{line} ({own}) imports {target}, which is not below it")
    return wrong


@pytest.mark.parametrize(
    ("module", "source", "count"),
    [
        ("slmtk.audio", "def f():\n    from slmtk.stages import train", 1),
        ("slmtk.audio", "from slmtk import stages", 1),
        ("slmtk.metrics.wer", "from slmtk.asr.base import Recognizer", 1),
        ("slmtk.codecs.world", "from ..stages import train", 1),
        ("slmtk.codecs.world", "if True:\n    import slmtk.models.heads", 1),
        ("slmtk.codecs.world", "if TYPE_CHECKING:\n    from slmtk.stages import train", 0),
        ("slmtk.codecs.world", "from slmtk.codecs.base import Codec\nfrom slmtk import audio, __version__", 0),
        ("slmtk.stages.train", "from slmtk import models, errors\nimport torch", 0),
        ("slmtk.stages.train", "import slmtk.novel", 1),
    ],
)
def test_the_rule_finds_what_it_should(module, source, count):
    assert len(wrong_imports(module, source)) == count


def test_every_module_has_a_layer():
    assert {layer_of(module_of(path)) for path in SOURCES} - {""} <= set(RANK)


def test_imports_point_down():
    wrong = [
        w for path in SOURCES if module_of(path) != "slmtk" for w in wrong_imports(module_of(path), path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", ["__init__.py", "cli", "errors.py", "spec.py", "plugins.py", "config.py"])
def test_nothing_heavy_is_imported_before_a_command_runs(folder):
    paths = sorted((PACKAGE / folder).rglob("*.py")) or [PACKAGE / folder]
    early = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in paths
        for line, name in top_level_imports(ast.parse(path.read_text()))
        if name.split(".")[0] in HEAVY
        or (path.parent.name == "cli" and layer_of(name) in {"stages", "models", "data", "codecs", "asr", "metrics"})
    ]
    assert early == []


def test_no_file_is_longer_than_400_lines():
    assert [str(p.relative_to(PACKAGE)) for p in SOURCES if len(p.read_text().splitlines()) > 400] == []


def test_no_module_is_called_utils():
    assert [p for p in SOURCES if p.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_every_module_opens_with_a_docstring():
    assert [str(p.relative_to(PACKAGE)) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text()))] == []


def test_no_function_is_longer_than_40_lines():
    long = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}: {body_lines(node)} lines"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and body_lines(node) > 40
    ]
    assert long == []


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's statements; its decorators (a command's options), signature and docstring do not count."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_no_handler_catches_everything():
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException"))
    ]
    assert found == []


def test_no_path_of_somebodys_machine_is_in_the_package():
    marks = ("/work/", "/tmp/", "/home/", "/root/", "C:\\\\Users")
    assert [str(p.relative_to(PACKAGE)) for p in SOURCES if any(mark in p.read_text() for mark in marks)] == []
