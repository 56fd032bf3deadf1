"""What other programs write, as they write it: for the tests of what becomes of it."""

from typing import Any

TXT2IMG = {
    "prompt": "a castle on a hill, (detailed:1.2)",
    "negative_prompt": "blurry",
    "styles": [],
    "seed": -1,
    "subseed": -1,
    "subseed_strength": 0,
    "seed_resize_from_h": -1,
    "seed_resize_from_w": -1,
    "sampler_name": "DPM++ 2M",
    "scheduler": "Karras",
    "batch_size": 2,
    "n_iter": 2,
    "steps": 25,
    "cfg_scale": 7,
    "width": 512,
    "height": 768,
    "restore_faces": False,
    "tiling": False,
    "eta": 0,
    "denoising_strength": 0.7,
    "s_noise": 1,
    "override_settings": {"sd_model_checkpoint": "dreamshaper.safetensors [879db523c3]", "CLIP_stop_at_last_layers": 2},
    "override_settings_restore_afterwards": True,
    "enable_hr": False,
    "hr_scale": 2,
    "hr_upscaler": "Latent",
    "script_name": None,
    "script_args": [],
    "send_images": True,
    "save_images": False,
    "alwayson_scripts": {},
}
IMAGES = {
    "model": "gpt-image-1",
    "prompt": "A cute baby sea otter",
    "n": 2,
    "size": "1024x768",
    "quality": "high",
    "output_format": "webp",
    "output_compression": 80,
    "response_format": "b64_json",
    "background": "auto",
    "user": "ann",
}
WORKFLOW: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 156680208700286,
            "steps": 20,
            "cfg": 8,
            "sampler_name": "dpmpp_2m",
            "scheduler": "karras",
            "denoise": 1,
            "model": ["10", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
        "_meta": {"title": "KSampler"},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 2}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "beautiful scenery [1980]", "clip": ["11", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["11", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0], "clip": ["4", 1]}},
    "11": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["10", 1]}},
}
EDITOR: dict[str, Any] = {
    "last_node_id": 9,
    "last_link_id": 9,
    "nodes": [
        {"id": 4, "type": "CheckpointLoaderSimple", "mode": 0, "widgets_values": ["sd15.safetensors"]},
        {"id": 5, "type": "EmptyLatentImage", "mode": 0, "widgets_values": [640, 512, 1]},
        {
            "id": 6,
            "type": "CLIPTextEncode",
            "inputs": [{"name": "clip", "type": "CLIP", "link": 3}],
            "widgets_values": ["a red fox"],
        },
        {
            "id": 7,
            "type": "CLIPTextEncode",
            "inputs": [{"name": "clip", "type": "CLIP", "link": 5}],
            "widgets_values": ["text"],
        },
        {
            "id": 3,
            "type": "KSampler",
            "inputs": [
                {"name": "model", "type": "MODEL", "link": 1},
                {"name": "positive", "type": "CONDITIONING", "link": 4},
                {"name": "negative", "type": "CONDITIONING", "link": 6},
                {"name": "latent_image", "type": "LATENT", "link": 2},
            ],
            "widgets_values": [42, "randomize", 30, 6.5, "euler_ancestral", "normal", 1],
        },
        {
            "id": 12,
            "type": "LoraLoader",
            "mode": 4,
            "inputs": [{"name": "model", "type": "MODEL", "link": 9}],
            "widgets_values": ["x", 1, 1],
        },
        {"id": 20, "type": "Note", "widgets_values": ["hello"]},
    ],
    "links": [
        [1, 12, 0, 3, 0, "MODEL"],
        [9, 4, 0, 12, 0, "MODEL"],
        [2, 5, 0, 3, 3, "LATENT"],
        [3, 4, 1, 6, 0, "CLIP"],
        [5, 4, 1, 7, 0, "CLIP"],
        [4, 6, 0, 3, 1, "CONDITIONING"],
        [6, 7, 0, 3, 2, "CONDITIONING"],
    ],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}
FLUX = {
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["30", 0], "clip": ["11", 0]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["13", 0], "vae": ["10", 0]}},
    "10": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
    "11": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "t5xxl", "clip_name2": "clip_l", "type": "flux"}},
    "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1-dev.safetensors", "weight_dtype": "default"}},
    "13": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["25", 0], "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0],
            "latent_image": ["27", 0],
        },
    },
    "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "17": {
        "class_type": "BasicScheduler",
        "inputs": {"scheduler": "simple", "steps": 20, "denoise": 1, "model": ["12", 0]},
    },
    "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
    "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 219670278747233}},
    "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
    "27": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
    "30": {"class_type": "PrimitiveString", "inputs": {"value": "a cup with a label"}},
}  # fmt: skip
INVOKE: dict[str, Any] = {
    "app_version": "5.6.0",
    "generation_mode": "txt2img",
    "positive_prompt": "a red fox in the snow",
    "negative_prompt": "blurry",
    "width": 512,
    "height": 768,
    "seed": 4242,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "cfg_rescale_multiplier": 0,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 0,
    "model": {"key": "1b", "hash": "blake3:00", "name": "DreamShaper", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"name": "x"}, "weight": 0.75}],
    "seamless_x": False,
    "vae": None,
}
INVOKE_GRAPH: dict[str, Any] = {
    "id": "text_to_image",
    "nodes": {
        "noise": {"id": "noise", "type": "noise", "seed": 7, "width": 640, "height": 512, "use_cpu": True},
        "main": {"id": "main", "type": "main_model_loader", "model": {"name": "DreamShaper"}},
        "pos": {"id": "pos", "type": "compel", "prompt": "a boat"},
        "neg": {"id": "neg", "type": "compel", "prompt": "sails"},
        "dl": {
            "id": "dl", "type": "denoise_latents", "steps": 12, "cfg_scale": 6, "scheduler": "euler_a",
            "denoising_start": 0, "denoising_end": 1, "is_intermediate": True,
        },
        "l2i": {"id": "l2i", "type": "l2i", "fp32": True},
    },
    "edges": [
        {"source": {"node_id": a, "field": f}, "destination": {"node_id": b, "field": g}}
        for a, f, b, g in (
            ("noise", "noise", "dl", "noise"), ("main", "unet", "dl", "unet"), ("main", "clip", "pos", "clip"),
            ("pos", "conditioning", "dl", "positive_conditioning"), ("main", "clip", "neg", "clip"),
            ("neg", "conditioning", "dl", "negative_conditioning"), ("dl", "latents", "l2i", "latents"),
        )
    ],
}  # fmt: skip
FOOOCUS_LOG = {
    "Prompt": "a lighthouse",
    "Negative Prompt": "",
    "Fooocus V2 Expansion": "a lighthouse, intricate",
    "Styles": "['Fooocus V2', 'Watercolor']",
    "Performance": "Speed",
    "Resolution": "(1152, 896)",
    "Guidance Scale": 4,
    "Sharpness": 2,
    "ADM Guidance": "(1.5, 0.8, 0.3)",
    "Base Model": "juggernautXL_v8Rundiffusion.safetensors",
    "Refiner Model": "None",
    "Refiner Switch": 0.5,
    "Sampler": "dpmpp_2m_sde_gpu",
    "Scheduler": "karras",
    "Seed": "8136354226287385463",
    "LoRA 1": "sd_xl_offset_example-lora_1.0.safetensors : 0.1",
    "Version": "Fooocus v2.5.5",
}
FOOOCUS_PRESET = {
    "default_model": "juggernautXL_v8Rundiffusion.safetensors",
    "default_refiner": "None",
    "default_refiner_switch": 0.5,
    "default_loras": [[True, "sd_xl_offset_example-lora_1.0.safetensors", 0.1]],
    "default_cfg_scale": 4.0,
    "default_sample_sharpness": 2.0,
    "default_sampler": "euler",
    "default_scheduler": "karras",
    "default_performance": "Quality",
    "default_prompt": "a cat",
    "default_prompt_negative": "",
    "default_styles": ["Fooocus V2"],
    "default_aspect_ratio": "896*1152",
    "default_overwrite_step": -1,
    "checkpoint_downloads": {"x.safetensors": "https://example.org/x"},
    "previous_default_models": [],
}
FOOOCUS_CALL = {
    "prompt": "a cat",
    "negative_prompt": "dogs",
    "style_selections": ["Watercolor"],
    "performance_selection": "Quality",
    "aspect_ratios_selection": "1152*896",
    "image_number": 3,
    "image_seed": -1,
    "sharpness": 2,
    "guidance_scale": 4,
    "base_model_name": "juggernautXL_v8Rundiffusion.safetensors",
    "loras": [{"enabled": True, "model_name": "x", "weight": 0.1}],
    "advanced_params": {"sampler_name": "dpmpp_2m", "scheduler_name": "karras", "overwrite_step": 20},
    "save_extension": "jpg",
    "async_process": True,
}
ALL = {
    "a call of txt2img in AUTOMATIC1111's API": [TXT2IMG],
    "a call of img2img in AUTOMATIC1111's API": [{**TXT2IMG, "init_images": ["iVBORw0KGgo="]}],
    "a call of OpenAI's images API": [IMAGES, {"model": "dall-e-3", "prompt": "a cat", "n": 1}],
    "a workflow of ComfyUI": [WORKFLOW, {"prompt": WORKFLOW, "client_id": "x"}, EDITOR, FLUX],
    "metadata of a picture of InvokeAI": [INVOKE],
    "a graph of InvokeAI": [INVOKE_GRAPH, {"prepend": False, "batch": {"graph": INVOKE_GRAPH, "runs": 1}}],
    "metadata of a picture of Fooocus": [FOOOCUS_LOG],
    "a preset of Fooocus": [FOOOCUS_PRESET],
    "a call of Fooocus-API": [FOOOCUS_CALL],
}
EVERYTHING = [(what, data) for what, group in ALL.items() for data in group]

#: The text in a picture of A1111's web UI.
INFO = """a castle, (red:1.3)
second line
Negative prompt: blurry,
low quality
Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, \
Model hash: 879db523c3, Model: dreamshaper_8, Denoising strength: 0.5, Clip skip: 2, Hires upscale: 2, \
Lora hashes: "x: 1234, y: 5678", Version: v1.10.1"""
