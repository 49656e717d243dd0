"""The models and profiles that a job can use: the built-in ones, and those in the operator's blob container.

The container holds <name>/model.json, <name>/model.onnx, <name>/sample/<file> and profiles/<name>.json.
A model or profile in the container overrides a built-in one of the same name: the operator put it there on
purpose, every plan names version and digests, and removing it brings the built-in one back. A broken model or
profile counts as absent and appears in `faults`, so it harms no job that does not ask for it.

Each machine fetches a model once, into models_cache/<digest>-<reference>/<name>/. A folder appears whole,
by one rename, and never changes: a job keeps the model it was planned with, whatever is uploaded meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from shared.contracts import ModelManifest, ModelRef, Profile
from shared.errors import BlobNotFound, ModelRefused, StorageUnavailable, UnknownModel, VideoChanged
from shared.models.drift import Reference, parse_reference, read_reference
from shared.models.load import load_model
from shared.models.manifest import find_models, name_fault, read_manifest
from shared.models.profiles import list_profiles, load_profile
from shared.settings import Settings
from shared.storage import BlobEntry, BlobStore

MAX_MODEL_BYTES = 512 * 1024**2
"""Limit on the files that a worker needs of one model, taken together."""
MAX_DOCUMENT_BYTES = 1024**2
"""Limit on a manifest, a profile or a reference."""
MAX_BLOBS = 10_000
"""Limit on the blobs of the container."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SAMPLE = re.compile(r"sample/[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PROFILES = "profiles"
_LEFT_BEHIND_S = 3600
"""A scratch folder older than this belongs to a process that was killed."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class _Shipped:
    """A model in the container: its manifest, and the blobs that a worker needs, by path in its folder."""

    manifest: ModelManifest
    blobs: Mapping[str, BlobEntry]


@dataclass(frozen=True)
class _Container:
    """What the container holds, by name; faults by folder or file."""

    models: dict[str, _Shipped] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class Catalogue:
    """One per process: it remembers every document that it has read, by ETag. Threads may share it.

    Each call lists the container (one request per 5000 blobs) and reads only new documents.
    Every method raises StorageUnavailable where storage does not answer.
    """

    def __init__(self, settings: Settings, store: BlobStore | None) -> None:
        """`store`: the container with models; None where the service has none."""
        self._settings = settings
        self._store = store
        self._manifests: dict[BlobEntry, ModelManifest | str] = {}
        self._profiles: dict[BlobEntry, Profile | str] = {}
        self._refused: dict[frozenset[BlobEntry], str] = {}

    @classmethod
    def of(cls, settings: Settings, patient: bool = True) -> Catalogue:
        """The process's one catalogue for these settings; `patient` as in BlobStore.from_settings."""
        return _catalogue(settings, patient)

    def manifests(self) -> dict[str, ModelManifest]:
        """Every model that a job can be planned with, by name, sorted. Fetches no graph."""
        built_in = find_models(self._settings.models_dir).manifests
        shipped = {name: model.manifest for name, model in self._list_container().models.items()}
        return dict(sorted((built_in | shipped).items()))

    def faults(self) -> dict[str, str]:
        """One sentence per faulty folder or file, by its name; empty where all is well."""
        return find_models(self._settings.models_dir).faults | self._list_container().faults

    def profiles(self) -> tuple[str, ...]:
        """Names of all profiles, sorted; a built-in one may still be invalid."""
        return tuple(sorted({*list_profiles(self._settings.models_dir), *self._list_container().profiles}))

    def profile(self, name: str) -> Profile:
        """The profile of this name. Raises UnknownModel where there is none, ModelRefused if faulty."""
        found = self._list_container()
        if name in found.profiles:
            return found.profiles[name]
        built_in = list_profiles(self._settings.models_dir)
        if name not in built_in:
            if fault := found.faults.get(f"{_PROFILES}/{name}.json"):
                raise ModelRefused(fault)
            known = ", ".join(sorted({*built_in, *found.profiles}))
            raise UnknownModel(f"no profile {name!r}; there are: {known or 'none'}")
        return load_profile(self._settings.models_dir, name)

    def folder(self, ref: ModelRef) -> Path:
        """A folder with the model that was planned as `ref`; fetches the model where this machine lacks it.

        Raises ModelRefused where the model was removed or replaced, does not match its digest, or does not
        load.
        """
        built_in, cached = self._settings.models_dir / ref.name, self._cache_folder(ref)
        with suppress(ModelRefused):
            if read_manifest(built_in).ref == ref:
                return built_in
        if cached.exists():
            with suppress(ModelRefused):
                if read_manifest(cached).ref == ref:
                    load_model(cached, self._settings.ort_threads)  # once per process; the caller asks next
                    return cached
            _discard(cached.parent)  # the disk has lost some of it
        return self._fetch(ref)

    def reference(self, ref: ModelRef) -> Reference | None:
        """The reference histogram of the model; None where it has none, or a faulty one."""
        with suppress(ModelRefused, BlobNotFound, VideoChanged):
            folder = self._settings.models_dir / ref.name
            if (folder / "model.json").exists() and (manifest := read_manifest(folder)).ref == ref:
                return read_reference(folder, manifest)
            model = self._list_container().models.get(ref.name)
            if model and model.manifest.ref == ref and model.manifest.reference:
                return parse_reference(self._read(model.blobs[model.manifest.reference]), model.manifest)
        return None

    # ------------------------------------------------------------ listing

    def _list_container(self) -> _Container:
        """The container's models, profiles and faults, as they are now."""
        found = _Container()
        if self._store is None:
            return found
        folders: dict[str, dict[str, BlobEntry]] = {}
        profiles: dict[str, BlobEntry] = {}
        try:
            for count, entry in enumerate(self._store.entries()):
                if count == MAX_BLOBS:
                    found.faults["container"] = f"the container holds more than {MAX_BLOBS} blobs"
                    break
                folder, _, path = entry.path.partition("/")
                if folder == _PROFILES:
                    if path.endswith(".json") and _NAME.fullmatch(path[:-5]):
                        profiles[path[:-5]] = entry
                elif _NAME.fullmatch(folder):
                    folders.setdefault(folder, {})[path] = entry
                elif path == "model.json":
                    found.faults[ascii(folder)[:80]] = "this is no name for a model: a-z, 0-9 and - are"
        except BlobNotFound:
            found.faults["container"] = f"the container {self._settings.models_container} does not exist"
        self._manifests = {
            blobs["model.json"]: self._manifest(name, blobs["model.json"])
            for name, blobs in folders.items()
            if "model.json" in blobs  # else it is no model, or not uploaded yet
        }
        for entry, manifest in self._manifests.items():
            name = entry.path.partition("/")[0]
            fault = manifest if isinstance(manifest, str) else _incomplete(manifest, folders[name])
            if isinstance(manifest, str) or fault:
                found.faults[name] = f"{fault} (in the container)"
            else:
                blobs = {path: folders[name][path] for path in _needed(manifest)}
                found.models[name] = _Shipped(manifest, blobs)
        self._profiles = {entry: self._profile(name, entry) for name, entry in profiles.items()}
        for name, entry in profiles.items():
            profile = self._profiles[entry]
            if isinstance(profile, str):
                found.faults[entry.path] = f"{profile} (in the container)"
            else:
                found.profiles[name] = profile
        return found

    def _manifest(self, name: str, entry: BlobEntry) -> ModelManifest | str:
        """The manifest, or the sentence that says what is wrong with it."""
        if known := self._manifests.get(entry):
            return known
        try:
            with _folder_of({f"{name}/model.json": self._document(entry)}) as folder:
                manifest = read_manifest(folder / name)
        except (ModelRefused, BlobNotFound, VideoChanged) as bad:
            return bad.message
        return name_fault(manifest, folder / name) or manifest

    def _profile(self, name: str, entry: BlobEntry) -> Profile | str:
        """The profile, or the sentence that says what is wrong with it."""
        if known := self._profiles.get(entry):
            return known
        try:
            with _folder_of({entry.path: self._document(entry)}) as folder:
                return load_profile(folder, name)
        except (ModelRefused, BlobNotFound, VideoChanged) as bad:
            return bad.message

    def _document(self, entry: BlobEntry) -> bytes:
        if entry.length_bytes > MAX_DOCUMENT_BYTES:
            raise ModelRefused(f"{entry.path} is larger than {MAX_DOCUMENT_BYTES} bytes")
        return self._read(entry)

    def _read(self, entry: BlobEntry) -> bytes:
        """The blob as it was listed, so it has the listed length. Raises BlobNotFound, VideoChanged."""
        assert self._store is not None
        return self._store.get(entry.path, entry.etag)

    # ------------------------------------------------------------ fetching

    def _cache_folder(self, ref: ModelRef) -> Path:
        """Its path contains the whole reference, so no other model or version of that name can lie there."""
        reference = hashlib.sha256(ref.model_dump_json().encode()).hexdigest()
        return self._settings.models_cache / f"{ref.digest[:16]}-{reference[:16]}" / ref.name

    def _fetch(self, ref: ModelRef) -> Path:
        planned = f"model {ref.name} was planned as {ref.version} ({ref.digest[:12]}/{ref.manifest[:12]})"
        model = self._list_container().models.get(ref.name)
        if model is None:
            raise ModelRefused(f"{planned}, and is neither built in nor in the container now")
        if (now := model.manifest.ref) != ref:
            found = f"{now.version} ({now.digest[:12]}/{now.manifest[:12]})"
            raise ModelRefused(f"{planned}, and was replaced by {found} in the container")
        version = frozenset(model.blobs.values())
        if version in self._refused:  # not fetched again for every segment
            raise ModelRefused(self._refused[version])
        folder = self._cache_folder(ref)
        try:
            self._download(model, folder)
            load_model(folder, self._settings.ort_threads)
        except ModelRefused as refused:
            self._refused[version] = refused.message
            _discard(folder.parent)
            raise
        except (BlobNotFound, VideoChanged) as gone:
            raise ModelRefused(f"{planned}, and was replaced while it was fetched: {gone.message}") from None
        except OSError as bad:
            _raise_if_full(bad)
            raise ModelRefused(
                f"model {ref.name} cannot be kept in {self._settings.models_cache} ({bad.strerror})"
            ) from bad
        return folder

    def _download(self, model: _Shipped, folder: Path) -> None:
        cache = self._settings.models_cache
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_left_behind(cache)
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache))
        try:
            for path, entry in model.blobs.items():
                data = self._read(entry)
                if path == "model.onnx" and hashlib.sha256(data).hexdigest() != model.manifest.digest:
                    raise ModelRefused(
                        f"model {model.manifest.name}: model.onnx in the container is "
                        f"{hashlib.sha256(data).hexdigest()[:12]}, not {model.manifest.digest[:12]}"
                    )
                target = scratch / folder.name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            try:
                scratch.rename(folder.parent)
            except OSError:
                if not folder.exists():
                    raise  # else another process was faster, with the same files
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@lru_cache(maxsize=4)
def _catalogue(settings: Settings, patient: bool) -> Catalogue:
    return Catalogue(settings, BlobStore.models(settings, patient))


def _needed(manifest: ModelManifest) -> list[str]:
    """Paths, in the model's folder, of the files that a worker needs; other files are ignored."""
    reference = [manifest.reference] if manifest.reference else []
    graph = ["model.onnx"] if manifest.engine == "onnxruntime" else []
    return ["model.json", manifest.golden.file, *graph, *reference]


def _incomplete(manifest: ModelManifest, blobs: Mapping[str, BlobEntry]) -> str | None:
    """Why the folder cannot be fetched, from its listing alone."""
    for path in _needed(manifest)[1:]:
        if path != "model.onnx" and not _SAMPLE.fullmatch(path):
            return f"model {manifest.name}: {ascii(path)[:120]} is not sample/<file>"
    if missing := [path for path in _needed(manifest) if path not in blobs]:
        return f"model {manifest.name}: {', '.join(missing)} is missing"
    if manifest.reference and blobs[manifest.reference].length_bytes > MAX_DOCUMENT_BYTES:
        return f"model {manifest.name}: {manifest.reference} is larger than {MAX_DOCUMENT_BYTES} bytes"
    total = sum(blobs[path].length_bytes for path in set(_needed(manifest)))
    if total > MAX_MODEL_BYTES:
        return f"model {manifest.name}: its files have {total} bytes; the limit is {MAX_MODEL_BYTES}"
    return None


@contextmanager
def _folder_of(files: Mapping[str, bytes]) -> Iterator[Path]:
    """A temporary folder with these files, for functions that read folders. Callers check the names."""
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="matchcut-")))
            for name, data in files.items():
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
        except OSError as bad:
            _raise_if_full(bad)
            raise
        yield folder


def _raise_if_full(bad: OSError) -> None:
    """A full disk is no fault of the model, and may have room in a minute."""
    if bad.errno in _FULL:
        raise StorageUnavailable(f"The disk for models and scratch is full ({bad.strerror}).") from bad


def _discard(folder: Path) -> None:
    """Remove a folder. The rename hides it at once, so no reader sees half of it; two processes may race."""
    with suppress(OSError):
        grave = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder.parent))
        with suppress(OSError):
            folder.rename(grave / "old")
        shutil.rmtree(grave, ignore_errors=True)


def _remove_left_behind(cache: Path) -> None:
    """Remove the scratch folders of processes that were killed."""
    for scratch in cache.glob(".fetch-*"):
        with suppress(OSError):
            if time.time() - scratch.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(scratch, ignore_errors=True)
