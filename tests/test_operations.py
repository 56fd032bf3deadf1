"""docs/operations.md tells what to do about everything that goes wrong."""

import re

from darkroom.config.settings import Config, shipped

CHECKOUT = shipped("pyproject.toml").parent
PAGE = (CHECKOUT / "docs/operations.md").read_text(encoding="utf-8")


def test_every_warning_and_error_of_the_log_is_told_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (CHECKOUT / "daemon/darkroom").rglob("*.py")]
    logged = {event for text in sources for event in re.findall(r'_log\.(?:warning|error)\(\s*"(\w+)"', text)}
    told = set(re.findall(r"`(\w+)`", PAGE))
    assert logged - told == set()
    assert len(logged) > 10


def test_every_setting_and_event_that_it_names_exists() -> None:
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE))
    sources = "".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "daemon/darkroom").rglob("*.py"))
    unknown = [word for word in sorted(named - set(Config.model_fields)) if f'"{word}"' not in sources]
    assert unknown == []


def test_its_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    for page in re.findall(r"\]\(([a-z]+\.md)", PAGE):
        assert (CHECKOUT / "docs" / page).is_file()


#: Quoted there, and said by systemd, by Python or by a person.
OF_OTHERS = {"Failed with result 'watchdog'", "systemctl show darkroom", "No module named 'darkroom'"}


def test_what_it_says_that_people_see_is_what_they_see() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (CHECKOUT / "daemon/darkroom").rglob("*.py")]
    text = re.sub(r'"\s*\n\s*f?"', "", "".join(sources))  # a literal that goes on in the next line
    quoted = [
        words for row in re.findall(r"^\| (.+?) \| ", PAGE, re.MULTILINE) for words in re.findall(r"`([^`]+)`", row)
    ]
    # What stands between the values, of which the operating system's own words are one.
    parts = [
        part.strip(" ,:.") for words in quoted for part in re.split(r'…|"|: (?=[A-Z])|\.darkroom|^not taken:', words)
    ]
    sentences = {part for part in parts if " " in part} - OF_OTHERS - {"Permission denied", "Read-only file system"}
    assert {sentence for sentence in sentences if sentence not in text} == set()
    assert len(sentences) > 20
