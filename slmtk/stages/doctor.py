"""Is everything here that the way from audio to score needs? What is found, and the command that mends what is not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path

from slmtk import __version__, plugins
from slmtk.errors import PluginError
from slmtk.progress import Progress
from slmtk.stages.mending import PYPI, explain_import, pip_install
from slmtk.stages.probe import Answer, ask

OK, NOTE, BROKEN = "ok", "note", "broken"

# Below this a first download of weights soon fills the disk.
FEW_GIGABYTES = 10

REQUIRED_IMPORTS = (
    "torch",
    "torchaudio",
    "transformers",
    "accelerate",
    "datasets",
    "pyarrow",
    "soundfile",
    "resemblyzer",
)
# Distribution -> module, for the optional parts that are worth importing: the others are pure Python.
OPTIONAL_IMPORTS = {
    "pyworld": "pyworld",
    "pocketsphinx": "pocketsphinx",
    "espeakng-loader": "espeakng_loader",
    "onnxruntime": "onnxruntime",
}
EXTRAS = {
    "embedded": "codec, recogniser and voices without downloads",
    "quality": "DNSMOS",
    "peft": "LoRA",
    "ray": "work spread over a cluster",
    "track": "training curves",
}
FORMATS = ("WAV", "FLAC", "OGG", "MP3")

TORCH_PROBE = """
import torch
cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
answer({"cuda": torch.version.cuda or "none", "mps": torch.backends.mps.is_available(),
        "gpus": [{"name": c.name, "bytes": c.total_memory, "capability": f"{c.major}.{c.minor}"} for c in cards]})
"""
SOUND_PROBE = """
import soundfile
answer({"version": soundfile.__libsndfile_version__, "formats": sorted(soundfile.available_formats())})
"""
IMPORT_PROBE = "import %s\nanswer({})"
PLUGIN_PROBE = "from slmtk import plugins\nplugins.load(%r, %r)\nanswer({})"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: "versions", "extras", "imports", "devices", "sound", "plug-ins", "caches" or "disk".
        name: the package, device, plug-in or folder.
        status: "ok"; "note" for something optional or worth knowing; "broken" if slmtk cannot do its work.
        found: what is there, or what is wrong with it.
        mend: the command that mends it; empty if there is nothing to mend.
    """

    group: str
    name: str
    status: str
    found: str
    mend: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """Everything that was found.

    Attributes:
        healthy: nothing is broken; notes do not count.
        findings: in the order in which they are shown.
    """

    healthy: bool
    findings: tuple[Finding, ...]


def installed_version(package: str) -> str | None:
    """Version of ``package``; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def command_output(command: Sequence[str]) -> str | None:
    """What ``command`` prints; None if it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def free_bytes(folder: Path) -> int:
    """Free space on the disk that holds ``folder``, or would hold it."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Surroundings:
    """Everything the doctor looks at; a test hands in troubles of its own.

    Attributes:
        ask: runs a piece of Python in a process of its own.
        version: installed version of a package.
        requirements: what slmtk declares, in the words of its metadata.
        environment: variables that name the caches.
        free_bytes: free space for a folder.
        command_output: what a command prints.
    """

    ask: Callable[[str], Answer] = ask
    version: Callable[[str], str | None] = installed_version
    requirements: Sequence[str] = field(default_factory=lambda: metadata.requires("slmtk") or [])
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    free_bytes: Callable[[Path], int] = free_bytes
    command_output: Callable[[Sequence[str]], str | None] = command_output


def diagnose(around: Surroundings, progress: Progress) -> DoctorReport:
    """Look at everything, a few things at a time.

    Args:
        around: where to look.
        progress: is told how many of the questions that take seconds have been answered.

    Returns:
        The findings by group; `DoctorReport.healthy` is False if any of them is "broken".
    """
    findings = check_versions(around)
    optional = [module for package, module in OPTIONAL_IMPORTS.items() if around.version(package)]
    questions: list[Callable[[], list[Finding]]] = [
        partial(check_devices, around),
        partial(check_sound, around),
        *(partial(check_import, module, BROKEN, around) for module in REQUIRED_IMPORTS),
        *(partial(check_import, module, NOTE, around) for module in optional),
        *(partial(check_plugins, group, around) for group in plugins.GROUPS),
    ]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool, progress.task("Looking", len(questions)) as task:
        for answer in [pool.submit(question) for question in questions]:
            findings += answer.result()
            task.advance(1)
    findings += check_caches(around) + check_disk(around)
    order = list(dict.fromkeys(finding.group for finding in findings))
    findings.sort(key=lambda finding: order.index(finding.group))
    return DoctorReport(all(finding.status != BROKEN for finding in findings), tuple(findings))


def check_versions(around: Surroundings) -> list[Finding]:
    """Python, slmtk and every package slmtk asks for, against the versions it asks for."""
    home = "a virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    python = f"{platform.python_version()} at {sys.executable} ({home}), {platform.platform(terse=True)}"
    findings = [Finding("versions", "python", OK, python)]
    findings.append(Finding("versions", "slmtk", OK, f"{__version__} at {Path(__file__).resolve().parents[1]}"))
    findings += [_version(text, BROKEN, around) for extra, text in _requirements(around) if not extra]
    for extra, purpose in EXTRAS.items():
        texts = [text for owner, text in _requirements(around) if owner == extra]
        parts = [_version(text, NOTE, around) for text in texts]
        wrong = [text for text, part in zip(texts, parts, strict=True) if part.status != OK]
        found = ", ".join(f"{part.name} {part.found}" for part in parts)
        mend = pip_install(*wrong) if wrong else ""
        findings.append(Finding("extras", extra, NOTE if wrong else OK, f"{purpose}: {found}", mend))
    return findings


def _requirements(around: Surroundings) -> list[tuple[str, str]]:
    """(extra or "", requirement without its marker) for everything slmtk declares."""
    pairs = []
    for line in around.requirements:
        text, _, marker = (part.strip() for part in line.partition(";"))
        _, _, extra = marker.partition("extra ==")
        pairs.append((extra.strip(" \"')"), text))
    return pairs


def _version(text: str, status_if_wrong: str, around: Surroundings) -> Finding:
    from packaging.requirements import Requirement

    wanted = Requirement(text)
    version = around.version(wanted.name)
    if version is None:
        return Finding("versions", wanted.name, status_if_wrong, "not installed", pip_install(text))
    if not wanted.specifier.contains(version, prereleases=True):
        found = f"{version}, but slmtk needs {wanted.specifier}"
        return Finding("versions", wanted.name, status_if_wrong, found, pip_install(text))
    return Finding("versions", wanted.name, OK, version)


def check_import(module: str, status_if_wrong: str, around: Surroundings) -> list[Finding]:
    """Import ``module`` in a process of its own."""
    answer = around.ask(IMPORT_PROBE % module)
    if not answer.error:
        return [Finding("imports", module, OK, _match(around) if module == "torchaudio" else "imports")]
    texts = {_name(text): text for _, text in _requirements(around)}
    versions = {name: around.version(name) or "not installed" for name in ("torch", "torchaudio")}
    return [Finding("imports", module, status_if_wrong, *explain_import(module, answer.error, texts, versions))]


def _name(requirement: str) -> str:
    from packaging.requirements import Requirement

    return Requirement(requirement).name


def _match(around: Surroundings) -> str:
    return f"torchaudio {around.version('torchaudio')} loads beside torch {around.version('torch')}"


def check_devices(around: Surroundings) -> list[Finding]:
    """Cores, memory and GPUs; a GPU that the driver shows and torch does not see is worth a note."""
    findings = [Finding("devices", "cpu", OK, f"{usable_cores()} cores, {_memory()}")]
    answer = around.ask(TORCH_PROBE)
    if answer.error:  # the import's own finding says how to mend it
        return [*findings, Finding("devices", "gpu", NOTE, "unknown, since torch does not import")]
    for number, card in enumerate(answer.values["gpus"]):
        found = f"{card['name']}, {card['bytes'] / 1e9:.0f} GB, compute capability {card['capability']}"
        findings.append(Finding("devices", f"cuda:{number}", OK, found))
    if answer.values["gpus"]:
        return findings
    if answer.values["mps"]:
        return [*findings, Finding("devices", "mps", OK, "Apple GPU")]
    return [*findings, _no_gpu(str(answer.values["cuda"]), around)]


def _no_gpu(torch_cuda: str, around: Surroundings) -> Finding:
    query = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    cards = around.command_output(query)
    if not cards:
        return Finding("devices", "gpu", OK, "none; everything runs on the CPU")
    found = f"the driver shows {cards.splitlines()[0]}, but torch (built for CUDA {torch_cuda}) does not see it"
    if torch_cuda == "none":
        again = [text for extra, text in _requirements(around) if not extra and _name(text) in ("torch", "torchaudio")]
        return Finding(
            "devices", "gpu", NOTE, found, pip_install(*again, options=f"--force-reinstall --index-url {PYPI}")
        )
    return Finding("devices", "gpu", NOTE, f"{found}: update the NVIDIA driver to one for CUDA {torch_cuda}")


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> str:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return "memory unknown"
    return f"{total / 1e9:.0f} GB of memory"


def check_sound(around: Surroundings) -> list[Finding]:
    """Which sound files libsndfile reads here."""
    answer = around.ask(SOUND_PROBE)
    if answer.error:
        return []
    version, formats = answer.values["version"], answer.values["formats"]
    missing = [name for name in FORMATS if name not in formats]
    if not missing:
        return [Finding("sound", "libsndfile", OK, f"{version} reads {', '.join(FORMATS).lower()}")]
    found = f"{version} does not read {', '.join(missing).lower()}"
    status = NOTE if missing == ["MP3"] else BROKEN
    return [
        Finding("sound", "libsndfile", status, found, pip_install("soundfile", options="--upgrade --force-reinstall"))
    ]


def check_plugins(group: str, around: Surroundings) -> list[Finding]:
    """Load every plug-in of ``group``, each in a process of its own."""
    try:
        names = list(plugins.available(group))
    except PluginError as error:
        return [Finding("plug-ins", group, BROKEN, str(error))]
    kind = group.removeprefix("slmtk.")
    findings = []
    for name in names:
        answer = around.ask(PLUGIN_PROBE % (group, name))
        status = NOTE if answer.error else OK
        # "slmtk.errors.PluginError: text" is the traceback's last line; the text is ours and says what to do.
        found = answer.error.partition("Error: ")[2] or answer.error or "loads"
        mend = found.partition("not installed: ")[2]
        findings.append(Finding("plug-ins", f"{kind} {name}", status, found, mend))
    return findings


def check_caches(around: Surroundings) -> list[Finding]:
    """Where downloads are kept and how big they have become."""
    environment, home = around.environment, Path.home()
    base = Path(environment.get("XDG_CACHE_HOME", home / ".cache"))
    hub = Path(environment.get("HF_HOME", base / "huggingface"))
    folders = {
        "HF_HOME": hub,
        "HF_HUB_CACHE": Path(environment.get("HF_HUB_CACHE", hub / "hub")),
        "TORCH_HOME": Path(environment.get("TORCH_HOME", base / "torch")),
        "slmtk transcripts": base / "slmtk" / "transcripts",
    }
    findings = [
        Finding("caches", name, OK, f"{folder.expanduser()} ({_size(folder)})") for name, folder in folders.items()
    ]
    if environment.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true"):
        found = "set: nothing is downloaded from the Hugging Face hub"
        findings.append(Finding("caches", "HF_HUB_OFFLINE", NOTE, found, "unset HF_HUB_OFFLINE"))
    return findings


def _size(folder: Path) -> str:
    if not folder.expanduser().is_dir():
        return "not there yet"
    total = 0
    for root, _, names in os.walk(folder.expanduser()):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:  # another process tidies up
                continue
    return f"{total / 1e9:.1f} GB"


def check_disk(around: Surroundings) -> list[Finding]:
    """Free space where slmtk is started."""
    here = Path.cwd()
    gigabytes = around.free_bytes(here) / 1e9
    if gigabytes >= FEW_GIGABYTES:
        return [Finding("disk", str(here), OK, f"{gigabytes:.0f} GB free")]
    return [Finding("disk", str(here), NOTE, f"only {gigabytes:.1f} GB free", "hf cache prune")]
