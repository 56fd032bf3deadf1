"""The code is held to ARCHITECTURE.md: rooms, who may import whom, and what happens in one place only."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path

import pytest

from darkroom.config.settings import Config, shipped
from darkroom.report.messenger import END_S
from darkroom.service.compose import LEAVE_S
from darkroom.service.loop import FLUSH_S
from darkroom.service.monitoring import FINISH_S

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daemon" / "darkroom"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
#: Packages whose files need no row of their own: commands, the starter's training, tests' tools.
WHOLE = ("cli", "starter", "testing")

#: Slow or large: the service starts without them, and so does the command.
HEAVY = {"torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub", "tokenizers", "PIL"}
HEAVY |= {"numpy", "scipy", "resvg_py"}

#: What a pure room may use of the standard library: nothing that sees a clock, a disk, chance or the environment.
PURE_LIBRARY = {
    "__future__",
    "bisect",
    "codecs",
    "collections",
    "contextlib",
    "csv",
    "dataclasses",
    "difflib",
    "enum",
    "errno",
}
PURE_LIBRARY |= {"functools", "hashlib", "heapq", "ipaddress", "itertools", "json", "math", "operator", "re", "shlex"}
PURE_LIBRARY |= {"string", "struct", "tomllib", "types", "typing", "unicodedata"}
#: Of these, what only computes.
PURE_PARTS = {
    "os": {"fsencode", "fsdecode", "fspath"},
    "pathlib": {"Path", "PurePath"},
    "datetime": {"datetime", "fromisoformat", "UTC", "date", "time", "timedelta", "tzinfo"},
    "http": {"HTTPStatus"},
}

#: Changes of a disk outside `files`, each with its reason.
CHANGES_ALLOWED = {
    "spool.lock": {"os.open", "os.ftruncate", "os.pwrite"},  # the lock names its process
    "spool.database": {"sqlite3.connect"},  # SQLite's own files
    "cli.folder_checks": {"(path / own).rmdir"},  # what its own probe had made
    "systemd.host": {"TemporaryDirectory", "shutil.copyfile", "sqlite3.connect"},  # asks a copy of the database
    "report.messenger": {"os.write"},  # a file in memory
    "cli.demo": {"tempfile.TemporaryFile"},  # what the daemon that it starts has to say
    "render.fetching": {"blob.unlink", "link.unlink"},  # in the hub's cache, what has come damaged
    "render.resuming": {"shutil.copyfileobj", "each.unlink", "path.replace"},  # in the hub's cache, what was cut short
    "cli.trying": {"TemporaryDirectory"},  # for one picture
    "gallery.small": {"Image.open"},  # reads a picture
    "render.pictures": {"Image.open"},  # reads those that a request names
    "foreign.carried": {"Image.open"},  # reads a picture
    "cluster.picture": {"Image.open"},  # reads a header
    "inbox.decoder": {"Image.open"},  # likewise
    "cli.verify": {"Image.open"},  # reads two
    "cli": {"os.open"},  # /dev/null, when whoever read us has seen enough
}
#: They train, package and test; they are no part of the service.
CHANGES_FREELY = ("starter.", "testing.")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "darkroom"


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def nodes_of(module: str, *, lazy: bool) -> tuple[ast.AST, ...]:
    """All of a module, or (not `lazy`) only what is carried out when it is imported: no function, no TYPE_CHECKING."""
    tree = tree_of(module)
    at_import = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tuple(ast.walk(tree) if lazy else at_import)


@cache
def imports_of(module: str, *, lazy: bool = True) -> frozenset[str]:
    """The full name of every module that a module imports."""
    return frozenset(name for node in nodes_of(module, lazy=lazy) for name in _imported(node))


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        source = node.module or ""
        for alias in node.names:
            inner = f"{source}.{alias.name}"
            yield inner if _is_ours(inner) else source


def _is_ours(name: str) -> bool:
    return name.removeprefix("darkroom.") in MODULES and name.startswith("darkroom.")


def own_imports(module: str, *, lazy: bool = True) -> set[str]:
    """Those that are ours, without `darkroom.`."""
    return {name.removeprefix("darkroom.") for name in imports_of(module, lazy=lazy) if _is_ours(name)}


def libraries_of(module: str, *, lazy: bool = True) -> set[str]:
    """The first part of those that are not ours."""
    return {name.partition(".")[0] for name in imports_of(module, lazy=lazy)} - {"darkroom"}


def package_of(module: str) -> str:
    """The package of a module; a module at the top is a box of its own."""
    return module.partition(".")[0]


# Rooms ---------------------------------------------------------------------------------------------------------------

_ROW = re.compile(r"^(\w+) +(pure|edge: \w+(?: \w+)?|edge|shell) +(\S.*)$", re.MULTILINE)
PACKAGES = sorted({module.partition(".")[0] for module in MODULES if "." in module})


@cache
def rows_of(package: str) -> dict[str, str]:
    """Module → kind, from the docstring of its package."""
    text = ast.get_docstring(tree_of(package)) or ""
    return {f"{package}.{name}": kind.partition(":")[0] for name, kind, _ in _ROW.findall(text)}


@cache
def top_rows() -> dict[str, str]:
    """Module → kind, of those at the top: from the table in ARCHITECTURE.md."""
    block = PAGE.partition("### At the top")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`[^|]*) \| (pure|edge|shell)[^|]*\|", block, re.MULTILINE)
    return {name.strip(): kind for names, kind in rows for name in names.replace("`", "").split(",")}


@pytest.mark.parametrize("package", [each for each in PACKAGES if each not in WHOLE])
def test_every_file_has_a_row_in_its_packages_docstring(package: str) -> None:
    there = {module for module in MODULES if module.startswith(f"{package}.")}
    assert rows_of(package).keys() - there == set(), "take these rows out"
    assert there - rows_of(package).keys() == set(), "add these rows"


def test_every_module_at_the_top_has_a_row_in_the_page() -> None:
    there = {module for module in MODULES if "." not in module} - set(PACKAGES) - {"darkroom", "__main__"}
    assert there == top_rows().keys()


def boxes() -> list[str]:
    """Every box of the page's table, from the lowest floor up."""
    block = PAGE.partition("## Rooms")[2].partition("\n###")[0]
    return re.findall(r"^\| `(\w+)/?` \|", block, re.MULTILINE)


def test_the_page_has_every_package_and_no_other() -> None:
    assert sorted(boxes()) == PACKAGES


def kind_of(module: str) -> str:
    package = package_of(module)
    return rows_of(package).get(module, "") if "." in module else top_rows().get(module, "")


PURE = sorted(module for module in MODULES if kind_of(module) == "pure")


def test_some_rooms_are_pure() -> None:
    assert {"errors", "names", "request.decide", "spool.answer", "spool.recovery", "service.dispatch"} <= set(PURE)


@pytest.mark.parametrize("module", PURE)
def test_a_pure_room_imports_only_pure_rooms(module: str) -> None:
    assert {name for name in own_imports(module) if kind_of(name) != "pure"} == set()


@pytest.mark.parametrize("module", PURE)
def test_a_pure_room_sees_no_clock_disk_chance_or_environment(module: str) -> None:
    library = libraries_of(module) & set(sys.stdlib_module_names)
    assert library - PURE_LIBRARY - PURE_PARTS.keys() == set()
    for node in nodes_of(module, lazy=True):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in PURE_PARTS:
            assert node.attr in PURE_PARTS[node.value.id], f"{module} uses {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module in PURE_PARTS:
            assert {alias.name for alias in node.names} <= PURE_PARTS[node.module]


# Who may import whom -------------------------------------------------------------------------------------------------


def table() -> dict[str, set[str]]:
    """The block under "Who may import whom": `box, box: what they import`, from the lowest floor up."""
    block = re.search(r"### Who may import whom\n.*?\n```\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None, "ARCHITECTURE.md has lost its table of imports"
    found: dict[str, set[str]] = {}
    for line in re.sub(r"\n +", " ", block[1]).splitlines():
        names, _, imported = line.partition(":")
        for name in names.split(","):
            assert name.strip() not in found, f"{name} stands twice in the table"
            found[name.strip()] = set(imported.split()) - {"-"}
    return found


def graph() -> dict[str, set[str]]:
    """The same, as the code has it."""
    found: dict[str, set[str]] = {}
    for module in MODULES.keys() - {"darkroom"}:
        own = found.setdefault(package_of(module), set())
        own |= {package_of(name) for name in own_imports(module)} - {package_of(module)}
    return found


def test_the_page_and_the_code_agree_on_who_imports_whom() -> None:
    said, true = table(), graph()
    wrong = [f"{name}: {' '.join(sorted(true[name])) or '-'}" for name in sorted(true) if true[name] != said.get(name)]
    wrong += [f"(take out {name})" for name in sorted(said.keys() - true.keys())]
    assert wrong == [], "ARCHITECTURE.md, Who may import whom, should say:\n" + "\n".join(wrong)


def test_no_arrow_goes_back_up() -> None:
    """The page tells the boxes from the lowest floor up: each imports only what stands above it on the page."""
    seen: set[str] = set()
    for name, imported in table().items():
        assert imported <= seen, f"{name} imports {imported - seen}, which stand below it on the page"
        seen.add(name)


def test_nobody_imports_the_renderer() -> None:
    assert {name for name, imported in graph().items() if "render" in imported} == set()
    named = [module for module in MODULES if "darkroom.render." in MODULES[module].read_text(encoding="utf-8")]
    assert [module for module in named if package_of(module) not in ("render", "testing")] == [
        "executor.local",
        "executor.pull",
    ]


def test_nobody_imports_what_imports_ray() -> None:
    assert importers_of("ray") == {"cluster.bridge", "cluster.driver", "cluster.watch"}
    assert {name for name, imported in graph().items() if "cluster" in imported} == set()
    named = [module for module in MODULES if "darkroom.cluster." in MODULES[module].read_text(encoding="utf-8")]
    assert [module for module in named if package_of(module) != "cluster"] == ["executor.ray"]


def test_imports_go_round_in_no_circle() -> None:
    left = {module: own_imports(module) for module in MODULES}
    while free := [module for module, needs in left.items() if not needs & left.keys()]:
        for module in free:
            del left[module]
    assert left == {}, "these import each other"


# What happens in one place only --------------------------------------------------------------------------------------


def importers_of(*libraries: str) -> set[str]:
    return {module for module in MODULES if libraries_of(module) & set(libraries)}


def service_importers_of(*libraries: str) -> set[str]:
    """Without the starter model's training and the tests' tools."""
    return {module for module in importers_of(*libraries) if not module.startswith(CHANGES_FREELY)}


def test_torch_and_diffusers_live_in_the_renderer_alone() -> None:
    assert service_importers_of("torch", "diffusers", "transformers", "accelerate", "peft") == {
        "render.adapter",
        "render.blocks",
        "render.call",
        "render.controls",
        "render.device",
        "render.embeddings",
        "render.encoded",
        "render.fetching",
        "render.known",
        "render.loras",
        "render.lora_spelling",
        "render.one_file",
        "render.parts",
        "render.pipelines",
        "render.placing",
        "render.precision",
        "render.quantizing",
        "render.prediction",
        "render.quantised",
        "render.scheduling",
        "render.siblings",
        "render.tensors",
        "render.torch_errors",
        "render.upscalers",
    }


def test_pictures_are_handled_where_they_are_encoded_painted_made_small_and_read_for_what_they_say() -> None:
    painted = {"render.adapter", "render.pictures", "render.testcard", "render.upscalers", "render.enlarging"}
    read = {"gallery.small", "foreign.carried", "cli.verify", "cluster.picture", "inbox.decoder"}
    assert service_importers_of("PIL") == {"render.encode", *painted, *read}


def test_nobody_imports_what_makes_pictures_small() -> None:
    assert {module for module in MODULES if "gallery.small" in own_imports(module)} == set()


def test_pydantic_stays_where_shapes_are_checked() -> None:
    assert service_importers_of("pydantic", "pydantic_core", "pydantic_settings") <= {
        "request.shape",
        "request.pictures",
        "request.schema",
        "config.environment",
        "config.load",
        "config.models",
        "config.settings",
    }


def test_sqlite_is_the_spools() -> None:
    allowed = {"spool.database", "systemd.host", "service.compose", "service.supervise", "testing.world"}
    assert importers_of("sqlite3") <= allowed


@pytest.mark.parametrize("entry", ["service.supervise", "cli", "client.requests", "service.loop", "cli.doctor"])
def test_nothing_heavy_is_imported_at_the_start(entry: str) -> None:
    assert imported_with(entry, HEAVY) == {}


@pytest.mark.parametrize("entry", ["cli.status", "cli.requests", "cli.find", "cli.clean", "render.worker"])
def test_what_may_never_be_needed_is_not_imported_at_the_start(entry: str) -> None:
    """The log, the environment's reader, what decides requests: each takes longer to import than a command takes."""
    assert imported_with(entry, {"structlog", "pydantic_settings", "asyncio"}) == {}
    if entry != "render.worker":
        assert {"request.decide", "request.shape", "models.judge"} & started_by(entry) == set()


@cache
def started_by(entry: str) -> frozenset[str]:
    """Every module of ours that is imported when this one is."""
    seen, todo = {entry}, [entry]
    while todo:
        new = own_imports(todo.pop(), lazy=False) - seen
        seen |= new
        todo += new
    return frozenset(seen)


def imported_with(entry: str, libraries: set[str]) -> dict[str, set[str]]:
    """Which of our modules bring which of these along."""
    found = {module: libraries_of(module, lazy=False) & libraries for module in started_by(entry)}
    return {module: brought for module, brought in found.items() if brought}


def test_what_paints_is_imported_in_one_place_and_only_when_it_is_needed() -> None:
    assert {module for module in MODULES if "render.device" in own_imports(module)} == {"render.opening"}
    assert "render.device" not in own_imports("render.opening", lazy=False)


def _is_open_for_writing(call: ast.Call, mode_at: int) -> bool:
    modes = [each.value for each in call.keywords if each.arg == "mode"] + call.args[mode_at : mode_at + 1]
    return any(not isinstance(mode, ast.Constant) or set(str(mode.value)) & set("wax+") for mode in modes)


def _is_os_open_for_writing(call: ast.Call) -> bool:
    return bool(re.search("O_WRONLY|O_RDWR|O_CREAT", " ".join(ast.unparse(each) for each in call.args)))


_OS_CHANGES = {"rename", "replace", "renames", "unlink", "remove", "mkdir", "makedirs", "rmdir", "removedirs", "link"}
_OS_CHANGES |= {"symlink", "truncate", "ftruncate", "pwrite", "write", "chmod", "chown", "utime", "mknod", "mkfifo"}
_PATH_CHANGES = {"write_text", "write_bytes", "mkdir", "rmdir", "unlink", "touch", "symlink_to", "hardlink_to", "chmod"}
_SHUTIL_READS = {"which", "disk_usage", "get_terminal_size"}


def change_in(call: ast.Call) -> bool:
    """Whether this call changes a disk, as far as its words tell."""
    name = ast.unparse(call.func)
    owner, _, verb = name.rpartition(".")
    if owner == "os":
        return verb in _OS_CHANGES or (verb == "open" and _is_os_open_for_writing(call))
    if owner in ("shutil", "tempfile"):
        return verb not in _SHUTIL_READS
    if name in ("TemporaryDirectory", "NamedTemporaryFile", "mkdtemp", "mkstemp", "sqlite3.connect"):
        return True
    if name == "open":
        return _is_open_for_writing(call, 1)
    if owner == "" or owner.endswith("disk"):
        return False
    if verb == "open":
        return _is_open_for_writing(call, 0)
    is_path_replace = verb == "replace" and len(call.args) == 1 and not call.keywords  # text has two arguments
    return verb in _PATH_CHANGES or verb == "rename" or is_path_replace


def changes_in(nodes: Iterable[ast.AST]) -> set[str]:
    return {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call) and change_in(node)}


def test_disks_are_changed_in_one_place() -> None:
    found = {
        module: changes
        for module in MODULES
        if module != "disk.files" and (changes := changes_in(nodes_of(module, lazy=True)))
    }
    found = {module: changes for module, changes in found.items() if not module.startswith(CHANGES_FREELY)}
    assert found == CHANGES_ALLOWED, "change disks in disk/files.py; or add the exception with its reason here"


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("os.rename(a, b)", True),
        ("os.open(path, os.O_WRONLY)", True),
        ("os.open(path, os.O_RDONLY)", False),
        ("open(path, 'rb')", False),
        ("open(path, mode='a')", True),
        ("open(path, mode)", True),
        ("path.open('w')", True),
        ("path.open()", False),
        ("path.write_text('x')", True),
        ("Path(a).replace(b)", True),
        ("text.replace('a', 'b')", False),
        ("replace(answer, rev=1)", False),
        ("self._disk.rename(a, b)", False),
        ("shutil.rmtree(path)", True),
        ("shutil.which('x')", False),
    ],
)
def test_what_changes_a_disk_is_told_from_what_does_not(code: str, changes: bool) -> None:
    assert bool(changes_in(ast.walk(ast.parse(code)))) is changes


CLOCKS = {"time.time", "time.monotonic", "time.sleep", "datetime.now", "datetime.utcnow", "time.perf_counter"}


#: Where a room of the daemon joins what is no constant to a path without `within`: names that the folder itself has
#: just listed, that were looked through already, or that are of our own making.
JOINED = {
    "gallery.ground": {"self.root / GALLERY / name", "place / source.name", "place / name"},
    "gallery.smalls": {"self._folder / folder", "self._folder / small_name(sha256)"},
    "http.files": {"place / file_of(name)"},
    "inbox.inputs": {
        "place / files_folder(request)", "inside / file.name", "inside / arriving_name(file.name)",
        "place / leaving_name(each.name, request_id)", "inside / leaving_name(each.name, request_id)",
        "place / each.name", "place / hidden", "place / name",
    },
    "inbox.listing": {"self._folder.path / folder"},
    "inbox.taking": {"self._folder.path / folder_of(path)", "place / free"},
    "outbox.mirrors": {"parent / chosen"},
    "outbox.results": {"folder / name", "inside / source.name"},
    "service.monitoring": {
        "folder / answer.result", "folder / f'{file_of(answer.name)}.json'", "self._config.outbox / folder",
    },
    "spool.kept": {
        "self._requests / request_id", "self._work / request_id", "folder / artefact.file", "folder / name",
        "self.inputs(request_id) / name", "self.inputs(request_id) / each.name", "self._requests / name",
    },
    "spool.records": {"""self.folder_path / f"damaged-record-{row['number']}.txt\""""},
}  # fmt: skip
ROOMS_OF_FOLDERS = ("gallery", "http", "inbox", "outbox", "service", "spool")


def joined_in(module: str) -> set[str]:
    """What is joined to a path by `/`, but for constants and numbers."""
    joins = (node for node in ast.walk(tree_of(module)) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
    names = (node for node in joins if not isinstance(node.right, ast.Constant) and ast.unparse(node.right).islower())
    return {ast.unparse(node) for node in names}


def test_no_name_is_joined_to_a_path_but_by_one_function_that_refuses_to_leave_its_root() -> None:
    found = {module: joined_in(module) for module in MODULES if package_of(module) in ROOMS_OF_FOLDERS}
    numbers = {"service.dispatch", "service.seats"}
    assert {module: joins for module, joins in found.items() if joins and module not in numbers} == JOINED


def test_what_a_thread_is_told_is_all_handled() -> None:
    """A match over kinds of events or of work says what is left over, so that types are checked to the last one."""
    open_ended = [
        f"{module}: match {ast.unparse(node.subject)}"
        for module in MODULES
        if package_of(module) in ("service", "render", "executor")
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Match) and _is_over_kinds(node) and "assert_never" not in ast.unparse(node.cases[-1])
    ]
    assert open_ended == ["render.worker: match decode(line)"]  # any line: what is no command is no matter of its


def _is_over_kinds(node: ast.Match) -> bool:
    """Whether each case names a class."""
    patterns = [case.pattern for case in node.cases[:-1]]
    return bool(patterns) and all(isinstance(each, ast.MatchClass | ast.MatchOr) for each in patterns)


def test_clocks_are_read_in_one_place() -> None:
    rooms_with_a_clock = {
        module
        for module in MODULES
        for node in nodes_of(module, lazy=True)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS
    }
    assert {module for module in rooms_with_a_clock if package_of(module) not in ("render", *WHOLE)} == {"clock"}


#: What diffusers has for transformers alone: of a U-Net it changes nothing without a word, or fails while it paints.
_FOR_TRANSFORMERS = re.compile(
    r"(set_)?attention_backend|(enable|disable)_cache|apply_\w*(cache|broadcast|taylorseer)\w*"
)


def test_nothing_is_called_that_leaves_a_unet_as_it_was() -> None:
    calls = (node for module in MODULES for node in nodes_of(module, lazy=True) if isinstance(node, ast.Call))
    assert {
        name for call in calls if _FOR_TRANSFORMERS.fullmatch(name := ast.unparse(call.func).rpartition(".")[2])
    } == set()


# Habits --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module))


def test_no_module_is_called_after_nothing() -> None:
    assert {name for name in MODULES if re.search(r"util|helper|manager|common|misc", name)} == set()


def test_systemd_waits_longer_for_the_end_than_the_service_takes() -> None:
    unit = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.read_string(shipped("systemd/darkroom.service").read_text(encoding="utf-8"))
    # The inbox is given back; the gallery and two heartbeats say the last.
    longest_s = Config().stop_within_s + FLUSH_S + 4 * LEAVE_S
    longest_s += 2 * FINISH_S + END_S  # commands that wait, the one that runs, the text file
    assert int(unit["Service"]["TimeoutStopSec"]) > longest_s
    assert int(unit["Service"]["WatchdogSec"]) > FLUSH_S
