// Now: what renders, what waits and what is in the way. Only what has changed is written, so that a selection stays.
"use strict";

Darkroom.today = (function () {
  const { list, store, words } = Darkroom;
  const { by, set, span } = words;
  const PATIENCE = 3; // times the promised interval, before it is said that nobody is there
  const LEAST_S = 12;
  let told = null; // life and counter of the last telling
  let since = performance.now(); // when that came
  let said = null;

  function hear(now) {
    const key = `${now.life} ${now.counter}`;
    if (key !== told) {
      told = key;
      since = performance.now();
    }
    said = now;
  }

  const silence_s = () => (performance.now() - since) / 1000;
  const isGone = () => said && said.state !== "stopped" && silence_s() > Math.max(LEAST_S, PATIENCE * (said.within_s || 5));

  const running = () => (said.seats || []).flatMap((seat) => (seat.rendering || []).map((each) => ({ seat, ...each })));

  /** A renderer by its device as people call it; where there are several, by its own name, too. */
  const titled = (seat) => (said.seats.length > 1 && seat.device_name ? `${seat.device_name} (${seat.name})` : seat.device_name || seat.name);

  /** Seconds that a request usually took of late; null where nothing is known. */
  function usual_s() {
    const times = (store.parts.get(store.open) || []).map((entry) => entry.render_s).filter((s) => s > 0).slice(0, 50);
    times.sort((a, b) => a - b);
    return times.length ? times[Math.floor(times.length / 2)] : null;
  }

  /** Seconds until the one behind so many others starts; null where nothing renders, or nothing is known. */
  function wait_s(ahead) {
    const usual = usual_s();
    if (!usual || !running().length) return null;
    const seats = Math.max(1, (said.seats || []).filter((seat) => seat.state !== "held").length);
    return Math.min(...running().map((each) => each.eta_s || 0)) + usual * Math.floor(ahead / seats);
  }

  /** How long all that waits takes, with what is told of it. */
  function whole() {
    const last_s = said.queued ? wait_s(said.queued - 1) : null;
    return last_s === null ? "" : ` All is done in about ${span(last_s + usual_s())}.`;
  }

  function summary() {
    if (said.state === "stopped") return "Darkroom is stopped.";
    if (isGone()) return `Darkroom has not been heard of for ${span(silence_s())}: it may have ended.`;
    const waiting = said.queued ? `, ${words.count(said.queued, "request waits", "requests wait")}` : "";
    if (said.state === "paused") return `Paused${waiting}.`;
    const count = running().length;
    if (count) return `Rendering ${words.count(count, "request", "requests")}${waiting}.${whole()}`;
    const seats = (said.seats || []).map((seat) => `${titled(seat)} is ${seat.state}`).join(", ");
    return said.queued ? `${words.count(said.queued, "request waits", "requests wait")}: ${said.waiting_for || seats}.` : "Nothing to do.";
  }

  function bar(each) {
    const { progress } = each;
    const li = words.make("li");
    li.append(words.foreign("span", "", "what"), document.createElement("progress"), words.make("span", "", "how"));
    return fill(li, each, progress);
  }

  function fill(li, each, progress) {
    const [what, meter, how] = li.children;
    set(what, each.name);
    meter.setAttribute("aria-label", `Progress of ${each.name}`);
    if (progress) {
      meter.max = progress.images * progress.steps;
      meter.value = (progress.image - 1) * progress.steps + progress.step;
    } else meter.removeAttribute("value");
    const image = progress && progress.images > 1 ? `picture ${progress.image} of ${progress.images}, ` : "";
    const step = progress ? `${image}step ${progress.step} of ${progress.steps}` : "being finished";
    const eta = each.eta_s === undefined ? "" : `, about ${span(each.eta_s)} left`;
    set(how, `${step}${eta} · ${titled(each.seat)}`);
    return li;
  }

  /** Make a list's items these; those that stay are filled anew and not made anew. */
  function reconcile(ul, items, make, renew) {
    while (ul.children.length > items.length) ul.lastChild.remove();
    items.forEach((item, at) => {
      if (ul.children[at]) renew(ul.children[at], item);
      else ul.append(make(item));
    });
  }

  function queue() {
    return (said.next || []).map((name, at) => {
      const left_s = wait_s(at);
      return [`${at + 1}. ${name}`, left_s === null ? "" : `starts in about ${span(left_s)}`];
    });
  }

  function lists() {
    const rest = (said.queued || 0) - (said.next || []).length;
    const folders = Object.entries(said.folders || {}).filter(([, each]) => each.state === "away");
    const held = [
      ...(said.held || []).map((each) => [each.model, [each.why, each.hint].filter(Boolean).join(" ")]),
      ...(said.seats || []).filter((seat) => seat.why).map((seat) => [titled(seat), seat.why]),
    ];
    const left = [...(said.not_taken || []).map((each) => [each.name, each.why])];
    if (said.not_taken_more) left.push([`and ${said.not_taken_more} more`, ""]);
    const late = said.undelivered ? [[words.count(said.undelivered, "result waits", "results wait"), "to be delivered"]] : [];
    return [
      ["Away", folders.map(([role, each]) => [role, each.why || ""])],
      ["Held", held],
      ["In line", rest > 0 ? [...queue(), [`and ${rest} more`, ""]] : queue()],
      ["In trouble", [...(said.troubled || []).map((each) => [each.name, each.why]), ...late]],
      ["Not taken", left],
    ].filter(([, items]) => items.length);
  }

  function pair([name, why]) {
    const li = words.make("li");
    li.append(words.foreign("span", name, "what"), words.make("span", " "), words.foreign("span", why, "how"));
    return li;
  }

  function section([title, items]) {
    const box = words.make("section");
    box.append(words.make("h2", ""), words.make("ul"));
    return refill(box, [title, items]);
  }

  function refill(box, [title, items]) {
    set(box.firstChild, title);
    reconcile(box.lastChild, items, pair, (li, [name, why]) => { set(li.firstChild, name); set(li.lastChild, why); });
    return box;
  }

  function draw() {
    if (!said) return;
    const isHere = !isGone() && said.state !== "stopped";
    by("now").hidden = false;
    by("now").className = isHere ? (running().length ? "busy" : "idle") : "gone";
    set(by("summary"), summary());
    reconcile(by("running"), isHere ? running() : [], bar, (li, each) => fill(li, each, each.progress));
    const all = isHere ? lists() : [];
    by("more").hidden = !all.length;
    set(by("more-title"), all.map(([title, items]) => `${title}: ${title === "In line" ? said.queued : items.length}`).join(" · "));
    reconcile(by("lists"), all, section, refill);
  }

  return {
    hear, draw,
    /** After a sleep of the page: nothing could be heard. */
    wake() { since = performance.now(); },
    get isBusy() { return Boolean(said) && running().length > 0; },
  };
})();
