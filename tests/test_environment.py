"""Whatever the service's environment says to the hub's libraries, the renderer has its models in `model_cache`."""

import json
import queue
import textwrap
from pathlib import Path

import pytest

from darkroom.actor import Broken
from darkroom.executor import local
from darkroom.executor.local import RendererProcess
from darkroom.executor.port import Alive, Died, Event, Load, Loaded, LoadFailed, Ready
from darkroom.executor.settings import RendererSettings
from darkroom.models.source import ModelSource
from darkroom.testing import tiny_pipeline

COMMIT = "0123456789abcdef0123456789abcdef01234567"
DEADLINE_S = 300.0  #: loading PyTorch on a busy machine

#: Each variable by which the libraries, of now or of earlier, may be told where their files are.
PLACES = (
    "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE", "HF_XET_CACHE",
    "HF_MODULES_CACHE", "TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE",
    "DIFFUSERS_CACHE", "XDG_CACHE_HOME",
)  # fmt: skip
SWITCHES = {
    "DIFFUSERS_DISABLE_REMOTE_CODE": "false",
    "HF_HUB_DISABLE_TELEMETRY": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "0",
    "HF_HUB_OFFLINE": "0",
    "TRANSFORMERS_OFFLINE": "0",
}

#: Before the renderer is one: tells what its libraries make of the environment. What they call their cache is a text
#: among their constants, whatever its name.
WITNESS = """
    import json, os, sys
    from pathlib import Path
    from diffusers.utils import constants as diffusers, dynamic_modules_utils
    from huggingface_hub import constants as hub
    from transformers.utils import hub as transformers
    from darkroom.render import worker

    modules = {"hub": hub, "diffusers": diffusers, "dynamic": dynamic_modules_utils, "transformers": transformers}
    seen = {
        f"{name}.{key}": str(value)
        for name, module in modules.items() for key, value in vars(module).items()
        if isinstance(value, (str, Path, bool)) and key.isupper()
    }
    seen["remote_code"] = os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"]
    Path(os.environ["WITNESS"]).write_text(json.dumps(seen))
    worker.main(*map(int, sys.argv[1:]))
"""


class Heard:
    """What a renderer told."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event | Broken] = queue.SimpleQueue()
        self.emit = self._events.put

    def next_of(self, *kinds: type[Event]) -> Event:
        while True:
            event = self._events.get(timeout=DEADLINE_S)
            if isinstance(event, (*kinds, Died, Broken)):
                assert isinstance(event, kinds), event
                return event
            assert isinstance(event, (Ready, Alive)), event


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where everything of the hub's is, if the environment of the service is believed."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in PLACES:
        monkeypatch.setenv(name, str(theirs / name.lower()))
    for name, value in SWITCHES.items():
        monkeypatch.setenv(name, value)
    return theirs


@pytest.mark.timeout(400)
def test_a_renderer_has_its_models_in_the_model_cache_and_looks_for_nothing_where_the_environment_says(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "models"
    repository = cache / "hub" / "models--owner--name"
    tiny_pipeline.build(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (tmp_path / "witness.py").write_text(textwrap.dedent(WITNESS))
    monkeypatch.setattr(local, "RENDERER", "witness")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("WITNESS", str(tmp_path / "seen.json"))
    own = ModelSource("mine", "owner/name", width=64, height=64, num_inference_steps=2)
    heard = Heard()
    settings = RendererSettings(models={"mine": own}, device="cpu", model_cache=str(cache), offline=True)
    process = RendererProcess(settings, name="seat", emit=heard.emit)
    process.start(1)
    try:
        process.send(Load("mine"))
        loaded = heard.next_of(Loaded, LoadFailed)
    finally:
        process.stop(within_s=0)
    assert isinstance(loaded, Loaded), loaded
    assert (loaded.model, loaded.revision) == ("mine", COMMIT)
    seen: dict[str, str] = json.loads((tmp_path / "seen.json").read_text())
    assert {name: value for name, value in seen.items() if str(theirs) in value} == {}
    assert (seen["hub.HF_HOME"], seen["hub.HF_HUB_CACHE"]) == (str(cache), str(cache / "hub"))
    assert seen["dynamic.HF_MODULES_CACHE"] == str(cache / "modules")
    assert (seen["hub.HF_HUB_OFFLINE"], seen["hub.HF_HUB_DISABLE_TELEMETRY"], seen["remote_code"]) == (
        "True", "True", "true",
    )  # fmt: skip
    assert not any(theirs.iterdir())
