// A result as the request that asks for it again: copied, or saved as a file to drop.
"use strict";

Darkroom.request = (function () {
  const { words } = Darkroom;
  const KEYS = ["negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "true_cfg_scale", "clip_skip", "scheduler", "format"];

  /** What was dropped; where that is not known, what was decided, in so many words. */
  function asked(entry) {
    if (entry.request) {
      const isThere = entry.request.prompt === null; // it stands in the entry itself
      return isThere ? { ...entry.request, prompt: entry.prompt } : { ...entry.request };
    }
    const prompt = words.painted(entry);
    if (!prompt) return null;
    const request = { prompt, default_negative: false, style: "none" };
    if (entry.model) request.model = entry.model;
    for (const key of KEYS) if ((entry.plan || {})[key] !== undefined) request[key] = entry.plan[key];
    return request;
  }

  /** The JSON to drop. Seeds have more digits than JavaScript's numbers, so they are texts until here. */
  function text({ entry, at }, isSame) {
    const request = asked(entry);
    if (!request) return null;
    const image = (entry.images || [])[at];
    let seed = typeof request.seed === "string" ? request.seed : "";
    delete request.seed;
    if (!isSame) seed = "";
    else if (image && image[1] !== "") {
      seed = image[1];
      delete request.num_images; // this picture alone
    }
    const json = JSON.stringify(request, null, 2);
    return /^\d+$/.test(seed) ? json.replace(/\n\}$/, `,\n  "seed": ${seed}\n}`) + "\n" : json + "\n";
  }

  /** Whether there is a seed that can be kept. */
  function hasSeed({ entry, at }) {
    return Boolean(((entry.images || [])[at] || [])[1] || (entry.request || {}).seed);
  }

  /** The pictures that it names, which have to lie beside it. */
  function files({ entry }) {
    const { init_image, mask_image, reference_images, control } = entry.request || {};
    const each = (value) => (Array.isArray(value) ? value : []);
    const named = [init_image, mask_image, ...each(reference_images), ...each(control).map((one) => (one || {}).image)];
    return [...new Set(named)].filter((name) => typeof name === "string");
  }

  function fileName({ entry }) {
    const name = entry.name.slice(entry.name.lastIndexOf("/") + 1);
    return `${name}-again.json`;
  }

  /** Returns whether the clipboard has it; a page that is no file and not encrypted may have to ask in the old way. */
  async function copy(json, area) {
    try {
      await navigator.clipboard.writeText(json);
      return true;
    } catch {
      area.hidden = false;
      area.value = json;
      area.select();
      const done = document.execCommand("copy");
      area.hidden = done;
      return done;
    }
  }

  function save(json, name) {
    const link = words.make("a");
    link.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  return { text, hasSeed, files, fileName, copy, save };
})();
