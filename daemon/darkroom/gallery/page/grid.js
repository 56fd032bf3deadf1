// The tiles. Only those in sight, and a few around them, are elements, however long the list is.
"use strict";

Darkroom.grid = (function () {
  const { list, words } = Darkroom;
  const grid = words.by("grid");
  const AROUND = 2; // rows above and below the window
  const MOST_CAPTION = 200; // characters
  const AHEAD = 3; // windows of shots that are looked for before they come in sight
  const tiles = new Map(); // index → li
  let columns = 1, side = 180, gap = 12, caption = 26, current = 0, waiting = false;
  let open = () => {};

  function measure() {
    const width = grid.clientWidth;
    const style = getComputedStyle(grid);
    const least = parseFloat(style.getPropertyValue("--least")) || 180;
    gap = parseFloat(style.getPropertyValue("--gap")) || 12;
    columns = Math.max(1, Math.floor((width + gap) / (least + gap)));
    side = (width - gap * (columns - 1)) / columns;
  }

  const rowHeight = () => side + caption + gap;
  const rows = () => Math.ceil(list.shots.length / columns);
  const inSight = () => Math.ceil(window.innerHeight / rowHeight()) * columns;

  function place(li, index) {
    li.style.width = `${side}px`;
    li.style.height = `${side + caption}px`;
    li.style.transform = `translate(${(index % columns) * (side + gap)}px, ${Math.floor(index / columns) * rowHeight()}px)`;
    li.setAttribute("aria-posinset", index + 1);
    li.setAttribute("aria-setsize", list.isComplete ? list.shots.length : -1);
    li.firstChild.tabIndex = index === current ? 0 : -1;
  }

  /** For those who do not see the tile: which of several, and when. */
  function unseen({ entry, at }) {
    const count = (entry.images || []).length;
    return `${count > 1 ? `, picture ${at + 1} of ${count}` : ""}, ${words.time(entry.time)}`;
  }

  function tile(shot, index) {
    const { entry, at } = shot;
    const li = words.make("li");
    const button = words.make("button", undefined, `tile ${entry.state}`);
    button.type = "button";
    button.dataset.index = index;
    const box = words.make("span", undefined, "box");
    const image = (entry.images || [])[at];
    if (image) box.append(thumbnail(entry, image));
    else box.append(words.foreign("span", (entry.error || {}).message || entry.state, "why"));
    if (entry.state !== "done") box.append(words.make("span", entry.state, "badge"));
    const caption = words.foreign("span", (entry.prompt || entry.name).slice(0, MOST_CAPTION), "caption");
    button.append(box, caption, words.make("span", unseen(shot), "unseen"));
    li.append(button);
    li.shot = shot;
    return li;
  }

  /** The small picture; else the large one; else a word. */
  function thumbnail(entry, [file, , , , small]) {
    const img = document.createElement("img");
    img.alt = "";
    img.decoding = "async";
    const large = words.address(entry.at, file);
    img.onerror = () => {
      if (img.dataset.tried) img.replaceWith(words.make("span", "moved or deleted", "why"));
      else { img.dataset.tried = "1"; img.src = large; }
    };
    if (!small) img.dataset.tried = "1";
    img.src = small ? words.address("darkroom-gallery/small", small) : large;
    return img;
  }

  function draw() {
    waiting = false;
    grid.style.height = `${Math.max(0, rows() * rowHeight() - gap)}px`;
    const above = Math.max(0, -grid.getBoundingClientRect().top);
    const first = Math.max(0, (Math.floor(above / rowHeight()) - AROUND) * columns);
    const last = Math.min(list.shots.length, first + inSight() + (2 * AROUND + 1) * columns);
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.index : "";
    for (const [index, li] of tiles) {
      const keeps = (index >= first && index < last) || String(index) === focused;
      if (!keeps || li.shot !== list.shots[index]) { li.remove(); tiles.delete(index); }
    }
    let before = null;
    for (let index = last - 1; index >= first; index -= 1) {
      let li = tiles.get(index);
      if (!li) {
        li = tile(list.shots[index], index);
        tiles.set(index, li);
        grid.insertBefore(li, before); // in their order, for those who read the page aloud
      }
      place(li, index);
      before = li;
    }
    if (last + AHEAD * inSight() > list.shots.length && !list.isComplete) ask();
  }

  let ask = () => {};

  function soon() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }

  /** How many shots should be known, so that nobody meets an end that is none. */
  const wanted = () => list.shots.length + (AHEAD + 1) * inSight();

  function focus(index) {
    if (!list.shots.length) return;
    current = Math.min(Math.max(0, index), list.shots.length - 1);
    const top = grid.getBoundingClientRect().top + Math.floor(current / columns) * rowHeight();
    const lowest = window.innerHeight - rowHeight();
    if (top < 0) window.scrollBy(0, top - gap);
    else if (top > lowest) window.scrollBy(0, top - lowest);
    draw();
    const li = tiles.get(current);
    if (li) li.firstChild.focus({ preventScroll: true });
  }

  const STEPS = {
    ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -columns, ArrowDown: () => columns,
    PageUp: () => -inSight(), PageDown: () => inSight(), Home: () => -Infinity, End: () => Infinity,
  };

  grid.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    focus(current + step());
  });
  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) { current = Number(button.dataset.index); open(current); }
  });
  grid.addEventListener("focusin", (event) => {
    if (event.target.dataset.index) { current = Number(event.target.dataset.index); soon(); }
  });
  window.addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(() => { measure(); soon(); }).observe(grid);

  return {
    soon, focus, wanted, measure,
    /** The list has others in it: look from its start. */
    reset() { current = 0; for (const li of tiles.values()) li.remove(); tiles.clear(); soon(); },
    /** So many were put before the first. */
    shift(by) { current += by; },
    set onopen(call) { open = call; },
    set onask(call) { ask = call; },
  };
})();
