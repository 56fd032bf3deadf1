// One picture in full, or two side by side, with all that is known of them.
"use strict";

Darkroom.viewer = (function () {
  const { grid, list, request, words } = Darkroom;
  const { by } = words;
  const viewer = by("viewer"), stage = by("stage"), facts = by("facts").tBodies[0];
  const SWIPE_PX = 50;
  const SMALL_PX = 512; // a picture that is much smaller than this is shown enlarged
  let shown = null; // the shot in sight
  let pinned = null; // the one that it is compared with
  let touched = null;
  let isEntry = false; // the picture in sight is an entry of the history: going back closes it

  const imageOf = ({ entry, at }) => (entry.images || [])[at];
  const index = () => list.shots.indexOf(shown);
  const hashOf = ({ entry, at }) => `#${entry.id}${at > 0 ? `-${at + 1}` : ""}`;

  function promptOf({ entry, at }) {
    const seed = (imageOf({ entry, at }) || [])[1];
    const own = (entry.varied || []).find((each) => each[0] === seed);
    return own ? own[1] : words.painted(entry);
  }

  /** What is known, in the order in which it is shown; "" is left out. */
  function known(shot) {
    const { entry } = shot;
    const plan = entry.plan || {};
    const image = imageOf(shot) || [];
    const painted = promptOf(shot);
    return new Map([
      ["Prompt", entry.prompt || ""],
      ["Enlarged", entry.larger || ""],
      ["As painted", painted !== entry.prompt ? painted : ""],
      ["Style", (entry.styles || []).join(", ")],
      ["Model", entry.model || ""],
      ["Seed", image[1] || (entry.request || {}).seed || ""],
      ["Size", image[2] ? `${image[2]} × ${image[3]}` : plan.width ? `${plan.width} × ${plan.height}` : ""],
      ["Steps", plan.num_inference_steps === undefined ? "" : String(plan.num_inference_steps)],
      ["Guidance", plan.guidance_scale === undefined ? "" : String(plan.guidance_scale)],
      ["Scheduler", plan.scheduler || ""],
      ["Without", plan.negative_prompt || ""],
      ["Finished", words.time(entry.time)],
      ["Took", entry.render_s ? (entry.render_s < 10 ? `${entry.render_s.toFixed(1)} s` : words.span(entry.render_s)) : ""],
      ["On", entry.device || ""],
      ["Folder", entry.at || ""],
      ["File", image[0] || ""],
    ]);
  }

  function figure(shot) {
    const box = words.make("figure");
    const image = imageOf(shot);
    if (!image) {
      box.append(words.make("p", `No picture: ${shot.entry.state}`, "why"));
      return box;
    }
    const img = document.createElement("img");
    img.alt = (shot.entry.prompt || shot.entry.name).slice(0, 500);
    img.src = words.address(shot.entry.at, image[0]);
    img.draggable = false;
    if (image[2]) {
      const times = Math.max(1, Math.min(4, Math.floor(SMALL_PX / Math.max(image[2], image[3]))));
      img.width = image[2] * times;
      img.height = image[3] * times;
    }
    img.onerror = () => img.replaceWith(words.make("p", "This picture was moved or deleted.", "why"));
    box.append(img);
    return box;
  }

  function trouble({ entry }) {
    const box = words.make("div");
    const error = entry.error;
    if (entry.state !== "done") box.append(words.make("p", entry.state, "badge"));
    if (entry.withheld) box.append(words.make("p", `${words.count(entry.withheld, "picture is", "pictures are")} withheld: flagged by the model's safety checker.`));
    if (!error) return box;
    box.append(words.foreign("p", error.message || error.code || ""));
    if (error.hint) box.append(words.foreign("p", error.hint, "hint"));
    const problems = words.make("ul");
    for (const each of error.problems || []) {
      problems.append(words.foreign("li", [each.where, each.message, each.hint].filter(Boolean).join(": ")));
    }
    if (problems.children.length > 1) box.append(problems);
    if (entry.said) box.append(words.make("p", "What was dropped:"), words.foreign("pre", entry.said));
    return box;
  }

  function rows() {
    const right = known(shown);
    const left = pinned ? known(pinned) : null;
    const made = [];
    for (const [name, value] of right) {
      const other = left ? left.get(name) : value;
      if (value === "" && other === "") continue;
      const row = words.make("tr", undefined, other === value ? "" : "differs");
      const head = words.make("th", name);
      head.scope = "row";
      row.append(head);
      if (left) row.append(words.foreign("td", other));
      row.append(words.foreign("td", value));
      made.push(row);
    }
    return made;
  }

  function draw() {
    stage.classList.toggle("two", Boolean(pinned));
    viewer.classList.toggle("two", Boolean(pinned));
    stage.replaceChildren(...(pinned ? [figure(pinned), figure(shown)] : [figure(shown)]));
    by("said").replaceChildren(trouble(shown));
    facts.replaceChildren(...rows());
    const at = index();
    words.set(by("place"), at < 0 ? "" : `${at + 1} of ${list.shots.length}${list.isComplete ? "" : "+"}`);
    by("previous").disabled = at <= 0;
    by("next").disabled = at < 0 || (at >= list.shots.length - 1 && list.isComplete);
    by("compare").setAttribute("aria-pressed", String(Boolean(pinned)));
    by("hint").hidden = !pinned;
    words.set(by("hint"), pinned ? "The first one stays. ← and → change the second one; what differs is marked." : "");
    offer();
  }

  function offer() {
    const keeps = request.hasSeed(shown);
    const many = (shown.entry.images || []).length > 1;
    by("again").hidden = request.text(shown, true) === null;
    by("same").disabled = !keeps;
    if (!keeps) by("new").checked = true;
    words.set(by("same-text"), many ? "same seed, this picture alone" : "same seed");
    words.set(by("done"), "");
    by("by-hand").hidden = true;
    const image = imageOf(shown);
    by("original").hidden = !image;
    if (image) by("original").href = words.address(shown.entry.at, image[0]);
  }

  function show(shot) {
    const isOpen = viewer.open;
    shown = shot;
    draw();
    if (!isOpen) {
      viewer.showModal();
      viewer.focus();
    }
    if (!isOpen && location.hash !== hashOf(shot)) enter(hashOf(shot));
    else history.replaceState(null, "", hashOf(shot));
    by("side").scrollTop = 0;
  }

  /** Going back will lead to the tiles, and not to where they stood: another one may be in sight by then. */
  function enter(hash) {
    history.scrollRestoration = "manual";
    location.hash = hash;
    isEntry = true;
  }

  /** However it was closed, it is no entry of the history any more: the next step back leads out of the page. */
  function leave() {
    if (location.hash && isEntry) history.back();
    else if (location.hash) history.replaceState(null, "", location.pathname + location.search);
    isEntry = false;
  }

  async function step(by_) {
    const to = index() + by_;
    if (to < 0) return;
    if (to >= list.shots.length) await list.grow(to + 1, () => {});
    if (list.shots[to]) show(list.shots[to]);
    if (to + 20 > list.shots.length && !list.isComplete) list.grow(to + 100, grid.soon);
  }

  function compare() {
    pinned = pinned ? null : shown;
    const at = index();
    if (pinned && at + 1 < list.shots.length) show(list.shots[at + 1]);
    else if (pinned && at > 0) show(list.shots[at - 1]);
    else draw();
  }

  /** What else has to be dropped, and where it lies. */
  function beside() {
    const files = request.files(shown);
    return files.length ? ` Put beside it what it names: ${files.join(", ")}, from ${shown.entry.at}/inputs.` : "";
  }

  async function copy() {
    const done = await request.copy(request.text(shown, by("same").checked), by("by-hand"));
    words.set(by("done"), `${done ? "Copied: save it as a .json file in the inbox." : "Copy it from here:"}${beside()}`);
  }

  function save() {
    request.save(request.text(shown, by("same").checked), request.fileName(shown));
    words.set(by("done"), `Saved: drop the file into the inbox.${beside()}`);
  }

  /** Two fingers have made it larger: one moves it, and does not go to the next. */
  const isZoomed = () => visualViewport.scale > 1.05;

  const KEYS = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), c: compare, r: copy, s: save };

  // Of the whole page: a button that had the focus and can't be used any more has handed it to nobody.
  document.addEventListener("keydown", (event) => {
    if (!viewer.open) return;
    const isField = event.target.matches("input, textarea");
    const call = KEYS[event.key] || KEYS[(event.key || "").toLowerCase()];
    if (!call || event.ctrlKey || event.altKey || event.metaKey || (isField && event.key.startsWith("Arrow"))) return;
    if ((call === copy || call === save) && by("again").hidden) return;
    event.preventDefault();
    call();
  });
  viewer.addEventListener("close", () => {
    const at = index();
    pinned = null;
    stage.replaceChildren();
    leave();
    if (at >= 0) grid.focus(at);
    Darkroom.viewer.onclose();
  });
  stage.addEventListener("touchstart", (event) => {
    touched = event.touches.length === 1 && !isZoomed() ? event.touches[0] : null;
  }, { passive: true });
  stage.addEventListener("touchend", (event) => {
    if (!touched) return;
    const dx = event.changedTouches[0].clientX - touched.clientX;
    const dy = event.changedTouches[0].clientY - touched.clientY;
    if (Math.abs(dx) > SWIPE_PX && Math.abs(dx) > 2 * Math.abs(dy)) step(dx > 0 ? -1 : 1);
    touched = null;
  });
  visualViewport.addEventListener("resize", () => stage.classList.toggle("zoomed", isZoomed()));
  window.addEventListener("hashchange", () => {
    if (location.hash) return;
    history.scrollRestoration = "auto";
    if (viewer.open) viewer.close(); // back, as a phone's button says
  });
  by("previous").onclick = () => step(-1);
  by("next").onclick = () => step(1);
  by("compare").onclick = compare;
  by("close").onclick = () => viewer.close();
  by("copy").onclick = copy;
  by("save").onclick = save;

  return {
    show, onclose: () => {},
    get isOpen() { return viewer.open; },
    /** Others have come: the place of this one may be another. */
    renew() { if (viewer.open) words.set(by("place"), index() < 0 ? "" : `${index() + 1} of ${list.shots.length}${list.isComplete ? "" : "+"}`); },
  };
})();
