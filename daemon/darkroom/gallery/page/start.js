// Begins: reads the index and the newest results, listens for what is new, and carries out what is wished for.
"use strict";

(function () {
  const { grid, list, store, today, viewer, words } = Darkroom;
  const { by, count, set } = words;
  const BUSY_MS = 1000, IDLE_MS = 3000, TYPING_MS = 200;
  const waiting = new Map(); // id → entry that has come and is not shown yet
  const seen = Object.fromEntries(list.FACETS.map((facet) => [facet, new Set()]));
  let timer = 0, typing = 0, rev = "";

  // What is wished for --------------------------------------------------------------------------------------------

  function wishes() {
    const wish = { words: by("words").value.toLowerCase().split(/\s+/).filter(Boolean), day: list.day(by("day").value) };
    for (const facet of list.FACETS) {
      const { selectedOptions: [option] } = by(facet);
      if (option && option.given !== undefined) wish[facet] = option.given;
    }
    return wish;
  }

  function find() {
    waiting.clear();
    by("fresh").hidden = true;
    list.find(wishes());
    by("clear").hidden = !list.isWishing;
    grid.reset();
    return grow();
  }

  const grow = () => list.grow(grid.wanted(), tell);

  function tell() {
    const pictures = list.shots.length, all = store.total();
    let text = "";
    if (list.isWishing && list.isComplete) text = `${count(pictures, "match", "matches")} in ${count(all, "result", "results")}`;
    else if (list.isWishing) text = `${pictures.toLocaleString("en")}+ matches in the newest ${count(list.looked, "result", "results")} of ${all.toLocaleString("en")}`;
    else text = count(all, "result", "results");
    set(by("count"), text);
    const nothing = list.isComplete && !pictures;
    by("nothing").hidden = !nothing;
    set(by("nothing"), list.isWishing ? "Nothing matches." : "No results yet. Drop a request into the inbox, and its pictures appear here.");
    list.shots.slice(-300).forEach((shot) => offer(shot.entry));
    grid.soon();
  }

  /** Every value that results have can be chosen. */
  function offer(entry) {
    for (const facet of list.FACETS) list.valuesOf(entry, facet).forEach((value) => add(facet, value));
  }

  function add(facet, value) {
    if (seen[facet].has(value)) return;
    seen[facet].add(value);
    const option = words.foreign("option", value || (facet === "folder" ? "(the outbox itself)" : "(none)"));
    option.given = value;
    const select = by(facet);
    const after = [...select.options].slice(1).find((each) => each.given > value);
    select.insertBefore(option, after || null);
  }

  function offerAll() {
    for (const summary of store.summaries.values()) {
      for (const facet of list.FACETS) (summary[facet] || []).forEach((value) => add(facet, value));
    }
  }

  // What is new ---------------------------------------------------------------------------------------------------

  /** Read again what has grown since. */
  async function renew(now) {
    const before = store.open;
    const isAnew = await store.readIndex();
    if (isAnew) { offerAll(); await find(); return; }
    for (let number = before; number <= store.open; number += 1) {
      for (const entry of list.fresh(await store.read(number, true))) waiting.set(entry.id, entry);
    }
    rev = `${now.made} ${now.part} ${now.results}`;
    const isCalm = window.scrollY < 40 && !viewer.isOpen && !by("grid").contains(document.activeElement);
    if (isCalm) showWaiting();
    else tellWaiting();
  }

  function tellWaiting() {
    const some = [...waiting.values()].filter(list.matches).length;
    by("fresh").hidden = some === 0;
    set(by("fresh"), `Show ${count(some, "new result", "new results")}`);
  }

  function showWaiting() {
    const entries = [...waiting.values()].sort((a, b) => ((a.time || "") < (b.time || "") ? 1 : -1));
    waiting.clear();
    by("fresh").hidden = true;
    entries.forEach(offer);
    const came = list.take(entries, 0);
    if (came) grid.shift(came);
    tell();
    viewer.renew();
  }

  async function listen() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const now = await store.readNow();
      if (now) {
        today.hear(now);
        if (rev !== `${now.made} ${now.part} ${now.results}`) await renew(now);
      }
    } catch {
      // no daemon has been here, or the share is away: it is told by the silence
    }
    today.draw();
    timer = setTimeout(listen, today.isBusy ? BUSY_MS : IDLE_MS);
  }

  // Keys and fields -----------------------------------------------------------------------------------------------

  by("words").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(find, TYPING_MS); });
  for (const id of [...list.FACETS, "day"]) by(id).addEventListener("change", find);
  by("find").addEventListener("submit", (event) => { event.preventDefault(); find(); });
  by("find").addEventListener("reset", () => { setTimeout(find, 0); by("words").focus(); });
  by("fresh").addEventListener("click", () => { window.scrollTo(0, 0); showWaiting(); grid.focus(0); });
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches && event.target.matches("input, select, textarea");
    if (event.key !== "/" || isTyping || viewer.isOpen) return;
    event.preventDefault();
    by("words").focus();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { today.wake(); listen(); } });

  grid.onopen = (index) => viewer.show(list.shots[index]);
  grid.onask = grow;
  viewer.onclose = tellWaiting;

  /** The picture that the address names, wherever in the list it is. */
  async function open() {
    const named = /^#([0-9A-Z]{26})(?:-(\d+))?$/.exec(location.hash);
    if (!named) return;
    const at = Math.max(0, Number(named[2] || 1) - 1);
    const is = (shot) => shot.entry.id === named[1] && Math.max(0, shot.at) === at;
    while (!list.shots.some(is) && !list.isComplete) await list.grow(list.shots.length + 1, tell);
    const shot = list.shots.find(is);
    if (shot) viewer.show(shot);
  }

  (async function begin() {
    grid.measure();
    try {
      await store.readIndex();
    } catch {
      by("nothing").hidden = false;
      set(by("nothing"), "The folder darkroom-gallery is missing beside this page, or is empty.");
      listen();
      return;
    }
    offerAll();
    await find();
    rev = `${store.made} ${store.open} ${store.parts.get(store.open).length}`;
    document.documentElement.dataset.ready = "1";
    await open();
    listen();
  })();
})();
