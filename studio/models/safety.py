"""What must hold before a model's files are touched by anything that could be fooled by them.

A pickle can run code when it is read, a header can ask for more memory than there is, and a model's index can name
files elsewhere or code of its own. All of that is found here by reading names, sizes and JSON; no weight is loaded and
nothing of the model is executed. Refusals are UnsafeModel with the reason, and ModelNotFound for what is missing.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.errors import ModelNotFound, UnsafeModel
from studio.models.weights import PICKLE_SUFFIXES, Weights, check_weights, human_bytes, shown

INDEX = "model_index.json"
JSON_LIMIT = 16 * 1024 * 1024  # bytes of a configuration

_COMPONENT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CLASS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
_OWN_CODE = frozenset({"auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code"})
# parameters of pipelines that also want a picture, a mask or a sketch, or that make films
_MORE_THAN_WORDS = frozenset({"mask_image", "control_image", "controlnet_conditioning_scale", "num_frames", "video"})
# pipelines of models that are made to fill: they see the mask, and paint nothing without one
FILLING = frozenset(
    {
        "FluxFillPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionXLInpaintPipeline",
    }
)
_INDEX_SUFFIX = ".safetensors.index"


@dataclass(frozen=True)
class Component:
    """One part of a pipeline, as its index names it."""

    name: str
    library: str
    class_name: str


@dataclass(frozen=True)
class ModelFolder:
    """A diffusers folder that may be loaded."""

    path: Path
    pipeline: str  # class name
    components: tuple[Component, ...]
    weights: tuple[Weights, ...]
    variant: str | None  # such as "fp16", where only those files are there
    left_out: frozenset[str]  # parts that the index lists as absent

    @property
    def parameters(self) -> int:
        return sum(weights.parameters for weights in self.weights)


def check_folder(folder: Path) -> ModelFolder:
    """Reads the index, the configurations and the headers of a diffusers folder.

    Raises ModelNotFound, saying what is missing, or UnsafeModel, saying what could do harm.
    """
    model = check_configuration(folder)
    held = {component.name: _weight_sets(folder / component.name) for component in model.components}
    for name, sets in held.items():
        # networks have a config.json; tokenizers, schedulers and preprocessors call theirs otherwise
        if not sets and (folder / name / "config.json").is_file():
            _refuse_pickles(folder, folder / name)
            raise ModelNotFound(
                f"`{shown(folder.name)}` is not a whole model: its `{name}` has no weights (.safetensors). "
                "Fetch it again."
            )
    held = {name: sets for name, sets in held.items() if sets}
    if not held:
        raise ModelNotFound(f"`{shown(folder.name)}` holds no weights (.safetensors). Fetch it again.")
    variant = _variant(folder, held)
    chosen = [sets.get(variant) or sets[None] for sets in held.values()]
    weights = tuple(check_weights(path) for path in itertools.chain.from_iterable(chosen))
    return dataclasses.replace(model, weights=weights, variant=variant)


def check_configuration(folder: Path) -> ModelFolder:
    """Reads the index and the configurations of a diffusers folder, whether or not it holds weights.

    Raises as `check_folder` does.
    """
    index = read_index(folder)
    components = tuple(components_of(folder, index))
    for component in components:
        _check_inside(folder, folder / component.name)
        if not (folder / component.name).is_dir():
            raise ModelNotFound(
                f"`{shown(folder.name)}` is not a whole model: its folder `{component.name}` is missing. "
                "Fetch it again."
            )
        for path in sorted((folder / component.name).iterdir()):
            _check_inside(folder, path)
            if path.name == f"{component.library}.py":  # diffusers would take the class from there
                raise _own_code(f"{component.name}/{path.name}")
            if path.name.endswith("config.json"):
                _refuse_own_code(read_json(path), path.name)
    left_out = frozenset(name for name, value in index.items() if value in ([None, None], None))
    return ModelFolder(folder, index["_class_name"], components, (), None, left_out)


def check_language_model(folder: Path) -> tuple[Weights, ...]:
    """The weights of a transformers model in a folder of its own: safetensors only, no code, no links out of it.

    Raises ModelNotFound, saying what is missing, or UnsafeModel, saying what could do harm.
    """
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"`{shown(folder.name)}` holds no language model: it has no config.json.")
    for path in sorted(folder.iterdir()):
        _check_inside(folder, path)
        if path.suffix == ".py":
            raise _own_code(path.name)
        if path.name.endswith("config.json"):
            _refuse_own_code(read_json(path), path.name)
    sets = _weight_sets(folder)
    if None not in sets:
        _refuse_pickles(folder.parent, folder)
        raise ModelNotFound(f"`{shown(folder.name)}` holds no weights (.safetensors). Fetch it again.")
    return tuple(check_weights(path) for path in sets[None])


def read_index(folder: Path) -> dict[str, Any]:
    """The model's index, with a pipeline of diffusers named in it.

    Raises ModelNotFound if it is missing, UnsafeModel if it is not what diffusers writes or asks for code of its own.
    """
    path = folder / INDEX
    if not path.is_file():
        raise ModelNotFound(
            f"`{shown(folder.name)}` is a folder, but no model: it has no {INDEX}. "
            "A diffusers folder has one, beside folders such as `unet` and `vae`."
        )
    _check_inside(folder, path)
    index = read_json(path)
    _refuse_own_code(index, INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or not _CLASS_NAME.fullmatch(name):
        raise UnsafeModel(
            f"The {INDEX} of `{shown(folder.name)}` asks for a pipeline of its own ({shown(str(name))}), "
            "that is for code from elsewhere. Only the pipelines of diffusers are run."
        )
    return index


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's folder. Raises UnsafeModel if it is too large, too deep or not one."""
    size = path.stat().st_size
    if size > JSON_LIMIT:
        raise UnsafeModel(f"`{shown(path.name)}` is {human_bytes(size)} large; no configuration is.")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise UnsafeModel(f"`{shown(path.name)}` of the model is not readable as JSON. Fetch it again.") from None
    if not isinstance(value, dict):
        raise UnsafeModel(f"`{shown(path.name)}` of the model should be a JSON object.")
    return value


def components_of(folder: Path, index: dict[str, Any]) -> Iterator[Component]:
    """The parts that an index names. Raises UnsafeModel for names that are no plain names."""
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list):
            continue
        if len(value) != 2 or not all(part is None or isinstance(part, str) for part in value):
            continue  # an option of the pipeline that happens to be a list
        library, class_name = value
        if library is None or class_name is None:
            continue  # a part that this model does without
        if not _COMPONENT_NAME.fullmatch(name):
            raise UnsafeModel(
                f"The {INDEX} of `{shown(folder.name)}` names a part `{shown(name)}`, which is no plain name "
                "but could lead out of the model's folder."
            )
        if not _CLASS_NAME.fullmatch(class_name) or not _CLASS_NAME.fullmatch(library):
            raise UnsafeModel(
                f"The {INDEX} of `{shown(folder.name)}` wants `{shown(class_name)}` of `{shown(library)}` as "
                f"its {name}. Only classes of diffusers and transformers are used."
            )
        yield Component(name, library, class_name)


def _refuse_own_code(config: dict[str, Any], name: str) -> None:
    if asked := sorted(_OWN_CODE & config.keys()):
        raise _own_code(f"{name}: {asked[0]}")


def _own_code(where: str) -> UnsafeModel:
    return UnsafeModel(
        f"The model asks to run code that came with it (`{shown(where)}`). The studio runs no code from models."
    )


def _check_inside(folder: Path, path: Path) -> None:
    """Raises UnsafeModel if `path` leads out of the model's folder through a link.

    The hub's cache keeps its files beside its snapshots and links to them: that is inside.
    """
    root = folder.resolve()
    roots = [root]
    if root.parent.name == "snapshots" and root.parents[1].name.startswith("models--"):
        roots.append(root.parents[1] / "blobs")
    target = path.resolve()
    if not any(target.is_relative_to(allowed) for allowed in roots):
        raise UnsafeModel(
            f"`{shown(path.name)}` in `{shown(folder.name)}` is a link that leads out of the model's folder. "
            "Put the file itself there."
        )


def _weight_sets(folder: Path) -> dict[str | None, list[Path]]:
    """The sets of safetensors files of one component, by variant; None is the plain one.

    `model.safetensors`, `model.fp16.safetensors`, and sharded ones through `model.safetensors.index.json` and
    `model.safetensors.index.fp16.json`. Raises ModelNotFound for shards that are not there.
    """
    sets: dict[str | None, list[Path]] = {}
    for stem in ("diffusion_pytorch_model", "model"):
        for path in sorted(folder.glob(f"{stem}{_INDEX_SUFFIX}*.json")):
            tag = path.name.removeprefix(stem + _INDEX_SUFFIX).removesuffix(".json").strip(".")
            sets.setdefault(tag or None, _shards(path))
        for path in sorted(folder.glob(f"{stem}*.safetensors")):
            tag = path.name.removeprefix(stem).removesuffix(".safetensors")
            if re.fullmatch(r"|\.[A-Za-z][A-Za-z0-9_]*", tag):
                sets.setdefault(tag.strip(".") or None, [path])
    return sets


def _shards(index: Path) -> list[Path]:
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise UnsafeModel(f"`{shown(index.name)}` lists no files. Fetch it again.")
    names = sorted({str(name) for name in listed.values()})
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*\.safetensors", name):
            raise UnsafeModel(
                f"`{shown(index.name)}` names the file `{shown(name)}`, which is no plain .safetensors name."
            )
        if not (index.parent / name).is_file():
            raise ModelNotFound(
                f"`{shown(index.parent.name)}` of the model is not complete: `{shown(name)}` is missing. "
                "Fetch it again."
            )
    return [index.parent / name for name in names]


def _variant(folder: Path, held: dict[str, dict[str | None, list[Path]]]) -> str | None:
    """None if every component has plain weights, else the variant that supplies those which have none."""
    lacking = {name: sets for name, sets in held.items() if None not in sets}
    if not lacking:
        return None
    shared = set.intersection(*({tag for tag in sets if tag} for sets in lacking.values()))
    if not shared:
        raise ModelNotFound(f"`{shown(folder.name)}` is not complete: its parts come in variants that do not fit.")
    return next((tag for tag in ("fp16", "bf16") if tag in shared), min(shared))


def _refuse_pickles(folder: Path, part: Path) -> None:
    """Raises UnsafeModel if a part without safetensors has weights of the other kind."""
    for path in sorted(part.iterdir()):
        if path.suffix.lower() in PICKLE_SUFFIXES:
            raise UnsafeModel(
                f"`{shown(folder.name)}` keeps its weights in `{shown(part.name)}/{shown(path.name)}`, a pickle, "
                "which can run code when it is opened. Choose a copy of this model in .safetensors files."
            )


def check_classes(model: ModelFolder) -> None:
    """Raises UnsafeModel unless the pipeline and all its parts are what the two libraries have for the purpose.

    Imports diffusers, and transformers as far as the parts need it.
    """
    import diffusers

    where = f"The {INDEX} of `{shown(model.path.name)}`"
    if not _is_kind(diffusers, model.pipeline, ("DiffusionPipeline",)):
        raise UnsafeModel(
            f"{where} asks for {shown(model.pipeline)}, which is no pipeline of diffusers "
            f"{diffusers.__version__}. A newer studio may know it."
        )
    _check_paints_from_words(getattr(diffusers, model.pipeline))
    for component in model.components:
        if component.library == "diffusers":
            usable = _is_kind(diffusers, component.class_name, ("ModelMixin", "SchedulerMixin"))
        elif component.library == "transformers":
            usable = _is_transformers_class(component.class_name)
        else:
            # older Stable Diffusion folders name the module of diffusers that holds their safety checker
            usable = (component.library, component.class_name) == (
                "stable_diffusion",
                "StableDiffusionSafetyChecker",
            )
        if not usable:
            raise UnsafeModel(
                f"{where} wants {shown(component.class_name)} of {shown(component.library)} as its "
                f"{component.name}, which is no such part of diffusers or transformers. It was not loaded."
            )


def _check_paints_from_words(pipeline: Any) -> None:
    """Raises UnsafeModel unless the pipeline makes a picture of a chosen size from a prompt, out of one folder.

    One that also wants to know what is to be filled is allowed where it is known to be made for that.
    """
    parameters = inspect.signature(pipeline.__call__).parameters
    refused = _MORE_THAN_WORDS - ({"mask_image"} if pipeline.__name__ in FILLING else set())
    needed = {name for name, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    if (
        needed - {"self", "prompt"}
        or not parameters.keys() >= {"prompt", "width", "height"}
        or not parameters.keys().isdisjoint(refused)
        or pipeline._load_connected_pipes
    ):
        raise UnsafeModel(
            f"A {pipeline.__name__} does not make pictures from words alone. Choose a text-to-image model."
        )


def _is_transformers_class(name: str) -> bool:
    import transformers

    return _is_kind(
        transformers,
        name,
        (
            "PreTrainedModel",
            "PreTrainedTokenizerBase",
            "ImageProcessingMixin",
            "FeatureExtractionMixin",
            "ProcessorMixin",
        ),
    )


def _is_kind(library: Any, name: str, kinds: tuple[str, ...]) -> bool:
    candidate = getattr(library, name, None)
    return isinstance(candidate, type) and issubclass(candidate, tuple(getattr(library, kind) for kind in kinds))
