"""Pictures of other programs: their settings as far as they can be used, and words for what cannot."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.imaging.png import read_png_text, write_png
from studio.prompts.prepared import prepared
from studio.prompts.samplers import solver_for
from studio.prompts.strangers import Settled, read, settle
from studio.requests import SOLVERS, TextToImage

USUAL = TextToImage(width=512, height=512, num_inference_steps=25, guidance_scale=7.0, model="sd15")

WEB_UI = """masterpiece, (best quality:1.2), a {red} fox in snow, <lora:inkStyle:0.8>, forest
second line
Negative prompt: lowres, (bad hands), text
signature
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 3519382771, Size: 512x768, Model hash: 6ce0161689, \
Model: v1-5-pruned-emaonly, Clip skip: 2, Lora hashes: "inkStyle: 1ab2, other: 3cd4", Denoising strength: 0.4, \
Hires upscale: 2, Hires upscaler: Latent, Version: v1.9.4"""

COMFY: dict[str, Any] = {
    "3": {
        "inputs": {
            "seed": 156680208700286,
            "steps": 20,
            "cfg": 8,
            "sampler_name": "dpmpp_2m_sde_gpu",
            "scheduler": "karras",
            "denoise": 1,
            "model": ["10", 0],
            "positive": ["11", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
        "class_type": "KSampler",
    },
    "4": {"inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}, "class_type": "CheckpointLoaderSimple"},
    "5": {"inputs": {"width": 1024, "height": 1016, "batch_size": 1}, "class_type": "EmptyLatentImage"},
    "6": {"inputs": {"text": ["12", 0], "clip": ["10", 1]}, "class_type": "CLIPTextEncode"},
    "7": {"inputs": {"text": "text, watermark", "clip": ["10", 1]}, "class_type": "CLIPTextEncode"},
    "8": {"inputs": {"samples": ["3", 0], "vae": ["4", 2]}, "class_type": "VAEDecode", "is_changed": [float("nan")]},
    "10": {
        "inputs": {"lora_name": "pixel.safetensors", "strength_model": 1, "model": ["4", 0], "clip": ["4", 1]},
        "class_type": "LoraLoader",
    },
    "11": {
        "inputs": {"positive": ["6", 0], "negative": ["7", 0], "control_net": ["13", 0], "image": ["14", 0]},
        "class_type": "ControlNetApplyAdvanced",
    },
    "12": {"inputs": {"value": "a galaxy in a glass bottle"}, "class_type": "PrimitiveString"},
}

FLUX = {
    "6": {"inputs": {"text": "cute anime girl", "clip": ["11", 0]}, "class_type": "CLIPTextEncode"},
    "13": {
        "inputs": {
            "noise": ["25", 0],
            "guider": ["22", 0],
            "sampler": ["16", 0],
            "sigmas": ["17", 0],
            "latent_image": ["27", 0],
        },
        "class_type": "SamplerCustomAdvanced",
    },
    "16": {"inputs": {"sampler_name": "euler"}, "class_type": "KSamplerSelect"},
    "17": {
        "inputs": {"scheduler": "simple", "steps": 24, "denoise": 1, "model": ["30", 0]},
        "class_type": "BasicScheduler",
    },
    "22": {"inputs": {"model": ["30", 0], "conditioning": ["26", 0]}, "class_type": "BasicGuider"},
    "25": {"inputs": {"noise_seed": 219670278747233}, "class_type": "RandomNoise"},
    "26": {"inputs": {"guidance": 3.5, "conditioning": ["6", 0]}, "class_type": "FluxGuidance"},
    "27": {"inputs": {"width": 1024, "height": 1024, "batch_size": 1}, "class_type": "EmptySD3LatentImage"},
    "30": {"inputs": {"max_shift": 1.15, "model": ["12", 0]}, "class_type": "ModelSamplingFlux"},
    "12": {"inputs": {"unet_name": "flux1-dev.safetensors"}, "class_type": "UNETLoader"},
}


def taken(texts: dict[str, str], side: int = 2048) -> Settled:
    """As it is from a real PNG."""
    png = write_png(np.zeros((8, 8, 3), np.uint8), texts)
    found = read(read_png_text(png))
    assert found is not None
    return settle(found, USUAL, side)


def said(found: Settled) -> str:
    return "\n".join(found.notes)


def test_web_ui() -> None:
    found = taken({"parameters": WEB_UI})
    assert found.request == TextToImage(
        prompt="masterpiece, (best quality:1.2), a \\{red\\} fox in snow, forest\nsecond line",
        negative_prompt="lowres, (bad hands), text\nsignature",
        width=512,
        height=768,
        num_inference_steps=28,
        guidance_scale=6.5,
        solver="DPM++ 2M",
        seed=3519382771,
        model="sd15",
    )
    for words in ("LoRA inkStyle is not loaded", "Karras", "clip skip 2", "hires upscale 2", "v1-5-pruned-emaonly"):
        assert words in said(found)
    assert "sampler" not in said(found)
    painted = prepared(found.request)
    assert painted.weighted
    assert "{red}" in painted.prompt


def test_web_ui_without_words_to_leave_out_and_with_a_separate_schedule() -> None:
    line = "Steps: 9, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 1, Seed: 7, Size: 500x300, Version: f2.0"
    found = taken({"parameters": f"a lake: Steps: here\n{line}"})
    assert found.request.prompt == "a lake: Steps: here"
    assert (found.request.width, found.request.height, found.request.solver) == (496, 304, "DPM++ 2M SDE")
    assert "500 × 300 is not in steps of 16 px: 496 × 304." in said(found)
    assert "DPM++ SDE is not here; DPM++ 2M SDE is the nearest solver." in said(found)


def test_comfy() -> None:
    found = taken({"prompt": json.dumps(COMFY), "workflow": "{}"})
    request = found.request
    assert (request.prompt, request.negative_prompt) == ("a galaxy in a glass bottle", "text, watermark")
    assert (request.num_inference_steps, request.guidance_scale, request.solver) == (20, 8.0, "DPM++ 2M SDE")
    assert (request.width, request.height) == (1024, 1024)
    assert request.seed == 156680208700286 % 2**32
    for words in ("pixel.safetensors", "ControlNet", "sd_xl_base_1.0.safetensors", "karras", "156680208700286"):
        assert words in said(found)


def test_comfy_with_guider_noise_and_sigmas_apart() -> None:
    request = taken({"prompt": json.dumps(FLUX)}).request
    assert request.prompt == "cute anime girl"
    assert (request.num_inference_steps, request.guidance_scale, request.solver) == (24, 3.5, "Euler")
    assert (request.width, request.height, request.seed) == (1024, 1024, 219670278747233 % 2**32)


def test_comfy_drawing_without_its_graph_says_so() -> None:
    found = taken({"workflow": json.dumps({"nodes": [], "links": []})})
    assert "only the drawing" in said(found)
    assert found.request == USUAL


def test_links_in_a_circle_end() -> None:
    graph = {
        "1": {
            "class_type": "KSampler",
            "inputs": {"positive": ["2", 0], "negative": ["1", 0], "seed": ["1", 0], "model": ["2", 0]},
        },
        "2": {
            "class_type": "ConditioningCombine",
            "inputs": {"conditioning_1": ["2", 0], "conditioning": ["1", 0], "model": ["2", 0]},
        },
    }
    assert taken({"prompt": json.dumps(graph)}).request == USUAL


def test_invoke() -> None:
    values = {
        "positive_prompt": "a cat+ in a hat",
        "negative_prompt": "dog",
        "width": 512,
        "height": 512,
        "seed": 123,
        "steps": 30,
        "cfg_scale": 7.5,
        "scheduler": "dpmpp_2m_k",
        "model": {"key": "x", "name": "Dreamshaper 8", "base": "sd-1"},
        "loras": [{"model": {"name": "ink"}, "weight": 0.75}],
    }
    found = taken({"invokeai_metadata": json.dumps(values)})
    assert (found.request.prompt, found.request.seed, found.request.solver) == ("a cat+ in a hat", 123, "DPM++ 2M")
    for words in ("Dreamshaper 8", "LoRA ink", "+ and -", "Karras"):
        assert words in said(found)


def test_early_invoke() -> None:
    image = {
        "prompt": [{"prompt": "a lake [fog]", "weight": 1}],
        "steps": 50,
        "cfg_scale": 7.5,
        "seed": 5,
        "sampler": "k_lms",
    }
    found = taken({"sd-metadata": json.dumps({"model_weights": "sd-1.4", "image": image})})
    assert (found.request.prompt, found.request.negative_prompt, found.request.solver) == ("a lake", "fog", "DPM++ 2M")
    found = taken({"Dream": '"a lake" -s 30 -S 42 -W 640 -H 512 -C 7.5 -A k_euler_a'})
    assert found.request.to_dict() == TextToImage("a lake", "", 640, 512, 30, 7.5, "Euler a", 42, "sd15").to_dict()


def test_novel() -> None:
    values = {
        "prompt": "{{fox}}, [snow], a (real) one",
        "steps": 28,
        "height": 832,
        "width": 1216,
        "scale": 5.0,
        "seed": 77,
        "sampler": "k_dpmpp_2s_ancestral",
        "uc": "lowres",
        "noise_schedule": "karras",
    }
    found = taken({"Software": "NovelAI", "Comment": json.dumps(values)})
    assert found.request.prompt == r"((fox:1.05):1.05), (snow:0.952), a \(real\) one"
    assert (found.request.negative_prompt, found.request.solver) == ("lowres", "Euler a")


def test_fooocus_and_swarm() -> None:
    values = {
        "prompt": "a fox",
        "negative_prompt": "",
        "resolution": "(1152, 896)",
        "steps": 30,
        "guidance_scale": 4.0,
        "sampler": "dpmpp_2m_sde_gpu",
        "scheduler": "karras",
        "seed": "12",
        "base_model": "juggernaut",
        "styles": "['Fooocus V2']",
    }
    found = taken({"parameters": json.dumps(values), "fooocus_scheme": "fooocus"})
    assert (found.request.width, found.request.height, found.request.seed) == (1152, 896, 12)
    assert "Fooocus V2" in said(found)
    values = {
        "sui_image_params": {"prompt": "a fox", "steps": 20, "cfgscale": 7, "seed": 3, "width": 512, "height": 512}
    }
    assert taken({"parameters": json.dumps(values)}).program == "SwarmUI"


def test_pictures_larger_than_the_model_paints_are_made_smaller_in_proportion() -> None:
    found = taken({"parameters": "x\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 1024x1536"}, side=256)
    assert (found.request.width, found.request.height) == (176, 256)
    assert "1024 × 1536 is larger than this model paints: 176 × 256." in said(found)


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"parameters": "hello"},
        {"prompt": "a lake"},
        {"Comment": "made with GIMP"},
        {"prompt": "[]"},
        {"prompt": "{}"},
        {"Comment": '{"prompt": 1}'},
        {"workflow": '{"nodes": 1}'},
        {"parameters": "{"},
    ],
)
def test_other_texts_are_nobodys_settings(texts: dict[str, str]) -> None:
    assert read(texts) is None


@pytest.mark.parametrize(
    ("sampler", "solver", "is_same"),
    [
        ("Euler a", "Euler a", True),
        ("k_euler_ancestral", "Euler a", True),
        ("euler_ancestral", "Euler a", True),
        ("DPM++ 2M SDE", "DPM++ 2M SDE", True),
        ("dpmpp_2m", "DPM++ 2M", True),
        ("uni_pc_bh2", "UniPC", True),
        ("DDIM", "DDIM", True),
        ("DPM++ 2M Karras", "DPM++ 2M", False),
        ("PLMS", "DEIS", False),
        ("DPM2 a Karras", "Euler a", False),
        ("wild", "Heun", False),
    ],
)
def test_samplers(sampler: str, solver: str, is_same: bool) -> None:
    found, words = solver_for(sampler, "Heun")
    assert found == solver
    assert (words is None) is is_same


@pytest.mark.parametrize("key", ["parameters", "prompt", "Comment", "Dream"])
@pytest.mark.parametrize(
    "unit", ["(", "[", "{", '"', '{"', ":", "a:", "<lora:", "Negative prompt:", "[[", '{"a":', "\\", "x, ", " -s1"]
)
def test_hostile_texts_end_soon_and_harm_nothing(key: str, unit: str) -> None:
    """200,000 characters each; a reader that takes more time per character than others would not come back."""
    text = unit * (200_000 // len(unit))
    for value in (
        text,
        "Steps: 1, Sampler: Euler, CFG scale: 7, Seed: 1\n" + text,
        '{"prompt": "' + text.replace('"', "") + '"}',
    ):
        found = read({key: value})
        if found is not None:
            check(settle(found, USUAL, 512))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "inputs",
                    "class_type",
                    "prompt",
                    "image",
                    "positive",
                    "model",
                    "uc",
                    "text",
                    "seed",
                    "nodes",
                    "sui_image_params",
                    "1",
                    "2",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.sampled_from(["parameters", "prompt", "Comment", "sd-metadata", "invokeai_metadata"]), JSON)
@settings(max_examples=80, deadline=None)
def test_any_json_is_read_or_left_alone(key: str, value: object) -> None:
    found = read({key: json.dumps(value)})
    if found is not None:
        check(settle(found, USUAL, 512))


@given(
    st.dictionaries(
        st.sampled_from(["positive_prompt", "width", "height", "steps", "cfg_scale", "seed", "scheduler", "model"]),
        JSON,
    )
)
@settings(max_examples=80, deadline=None)
def test_any_values_lead_to_a_request_that_can_be_painted(values: dict[str, object]) -> None:
    found = read({"invokeai_metadata": json.dumps({"positive_prompt": "x", **values})})
    if found is not None:
        check(settle(found, USUAL, 512))


def check(found: Settled) -> None:
    assert found.request.solver in SOLVERS
    assert TextToImage.from_dict(found.request.to_dict()) == found.request
    assert len(found.notes) <= 12
    assert all(len(note) < 400 and note.isprintable() for note in found.notes)
