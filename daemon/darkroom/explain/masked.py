"""The lines that paint a part of a picture by a pipeline that reads no masks, as diffusers' own for masks do it."""

from __future__ import annotations

LINES = """\
drawn = torch.Generator("cpu").manual_seed({seed})  # it gives what it gives the pipeline
with torch.inference_mode():
    known = pipe.vae.encode(pipe.image_processor.preprocess(init).to(pipe.device, pipe.vae.dtype))
known = known.latent_dist.sample(drawn) if hasattr(known, "latent_dist") else known.latents
known = (known - (pipe.vae.config.get("shift_factor") or 0)) * pipe.vae.config.scaling_factor
noise = torch.randn(known.shape, generator=drawn).to(known)
anew = torch.from_numpy(np.asarray(mask) >= 128)[None, None].to(known)
anew = torch.nn.functional.adaptive_max_pool2d(anew, known.shape[-2:])


def put_back(pipe, index, time, tensors):
    \"""After each step, what is not painted anew is as noisy as the rest is.\"""
    times, rest = pipe.scheduler.timesteps, known
    then = len(times) - pipe.num_timesteps + index + 1
    if then < len(times):
        noisy = getattr(pipe.scheduler, "scale_noise", None)
        rest = noisy(known, times[[then]], noise) if noisy else pipe.scheduler.add_noise(known, noise, times[[then]])
    return {{"latents": anew * tensors["latents"] + (1 - anew) * rest}}

"""
