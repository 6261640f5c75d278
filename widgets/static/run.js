// One training run: how it stands, its loss, the peak of each step under the budget, and the memory inside one step.
// Draws model.get("info") and imports nothing. Start and Cancel are messages; without a kernel they are not shown.
const NS = "http://www.w3.org/2000/svg";
const W = 900, L = 94, R = 16, LOSS = [14, 150], PEAK = [186, 318], H = 372, INSIDE = [18, 158], INSIDE_H = 186;
// Pinned runs: another colour, another dash and a letter at the end of the line.
const PINS = [["#D55E00", "7 4"], ["#009E73", "2 3"], ["#CC79A7", "10 3 2 3"], ["#E69F00", "4 2"]];
const SIGNS = { ready: "○", queued: "…", preparing: "…", running: "▶", cancelling: "■", done: "✓", cancelled: "■", diverged: "≁", gone: "∅" };
const STOPPABLE = ["queued", "preparing", "running"], REPEATABLE = ["ready", "done", "cancelled", "over budget", "out of memory", "diverged", "failed"];
const PATIENCE = 5000;
// A second sign beside the colour: none, upright, crossed, rising, falling, level.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8"];
let serial = Math.floor(Math.random() * 1e9); // every panel of a notebook may load a module of its own: no name may come twice

function svg(tag, attributes, parent, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < 4) { bytes /= 1024; i++; }
  return `${i === 0 ? Math.round(bytes) : bytes.toFixed(bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2)} ${units[i]}`;
}

function round(low, high, unit = 1, count = 3) {
  const rough = Math.max(high - low, 1e-9) / unit / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) * unit;
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high; t += step) found.push(t);
  return found;
}

async function copy(text, button, name) {
  try { await navigator.clipboard.writeText(text); } catch {
    const area = html("textarea", { value: text, className: "pp-unseen" }, button.parentElement);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = name; }, 1500);
}

// What never changes is made once, so that a button keeps its focus while numbers come in.
function skeleton(el, id) {
  el.replaceChildren();
  el.classList.add("pp-panel");
  const defs = svg("defs", {}, svg("svg", { width: 0, height: 0, class: "pp-defs", "aria-hidden": "true" }, el));
  const bar = html("div", { className: "pp-controls" }, el);
  const button = (name) => html("button", { type: "button", textContent: name }, bar);
  const parts = { start: button("Start"), cancel: button("Cancel"), command: button("Copy as command"), python: button("Copy as Python"), pin: button("Pin to compare") };
  parts.said = html("p", { className: "pp-verdict" }, el);
  parts.progress = html("progress", { className: "pp-progress" }, el);
  parts.progress.setAttribute("aria-label", "Steps done");
  parts.spoken = html("p", { className: "pp-unseen" }, el);
  parts.spoken.setAttribute("role", "status");
  parts.spoken.setAttribute("aria-live", "polite");
  parts.why = html("div", { className: "pp-why" }, el);
  parts.graph = html("div", {}, el);
  parts.chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, parts.graph);
  const row = html("div", { className: "pp-controls" }, parts.graph);
  const label = html("label", { textContent: "Step " }, row);
  parts.slider = html("input", { type: "range", min: 0, step: 1 }, label);
  parts.reading = html("span", { className: "pp-reading" }, row); // no output: its changes would be read out
  parts.pins = html("ul", { className: "pp-pins" }, el);
  parts.split = html("div", {}, el);
  parts.fill = (colours) => colours.map((colour, i) => {
    if (defs.childElementCount <= i) {
      const pattern = svg("pattern", { id: `${id}-${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, defs);
      svg("rect", { width: 8, height: 8, fill: colour }, pattern);
      if (TEXTURES[i]) svg("path", { d: TEXTURES[i], class: "pp-texture" }, pattern);
    }
    return `url(#${id}-${i})`;
  });
  return parts;
}

function able(button, yes, why = "") {
  button.setAttribute("aria-disabled", !yes);
  button.title = yes ? "" : why;
}

// Steps of a scale with their lines and words.
function ticks(root, values, y, print) {
  for (const t of values) {
    svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: y(t), y2: y(t) }, root);
    svg("text", { x: L - 8, y: y(t) + 4, "text-anchor": "end" }, root, print(t));
  }
}

const between = ([a, b], from, to) => (v) => b - ((v - from) / (to - from)) * (b - a);
const bytes = (high) => round(0, high, 1024 ** Math.floor(Math.log(high) / Math.log(1024)));
// One scale for the peaks of steps and for the inside of one, so that they can be compared.
const highest = (info) => Math.max(info.budget ?? 0, info.highest ?? 0, info.profile_peak ?? 0, ...info.pins.flatMap((p) => p.peaks), 1) * 1.14;

function budget(info, root, y) {
  if (info.budget == null) return;
  svg("line", { class: "pp-budget", x1: L, x2: W - R, y1: y(info.budget), y2: y(info.budget) }, root);
  svg("text", { class: "pp-budget-name", x: W - R, y: y(info.budget) - 5, "text-anchor": "end" }, root, `budget ${size(info.budget)}`);
}

function chart(info, root, at, fills) {
  root.replaceChildren();
  const end = info.steps[info.steps.length - 1];
  const last = Math.max(info.over ? end : Math.max(info.planned, end), ...info.pins.map((p) => p.steps[p.steps.length - 1]));
  const X = (step) => L + (step / last) * (W - L - R);
  const losses = [...info.losses, ...info.pins.flatMap((p) => p.losses)];
  const low = Math.min(...losses), top = Math.max(...losses), pad = (top - low || Math.abs(top) || 1) * 0.08;
  const high = highest(info), loss = between(LOSS, low - pad, top + pad), peak = between(PEAK, 0, high);
  ticks(root, round(low - pad, top + pad), loss, (t) => `${+t.toPrecision(3)}`);
  ticks(root, bytes(high), peak, (t) => (t ? size(t) : "0"));
  const text = (x, y, words, anchor = "start") => svg("text", { x, y, "text-anchor": anchor, class: "pp-strong" }, root, words);
  text(L + 4, LOSS[0] - 2, "training loss");
  text(L + 4, PEAK[0] - 8, "peak of each step");
  const points = info.steps.map((s, i) => [X(s), info.losses[i], info.peaks[i]]);
  // What is held before a step is known by category and hardly changes; the lines are what the step put on top.
  const ground = info.steps.map(() => 0);
  info.held.forEach(([from, held], n) => {
    const to = info.held[n + 1]?.[0] ?? points.length;
    const x = from ? points[from - 1][0] : L, width = Math.max(3, points[to - 1][0] - x);
    let base = 0;
    held.forEach((size, c) => {
      if (size > 0) svg("rect", { x: x.toFixed(1), y: peak(base + size).toFixed(1), width: width.toFixed(1), height: (peak(base) - peak(base + size)).toFixed(1), fill: fills[c], class: "pp-held-area" }, root);
      base += size;
    });
    ground.fill(base, from, to);
  });
  for (const band of [LOSS, PEAK]) svg("path", { class: "pp-axis", d: `M${L},${band[0]}V${band[1]}H${W - R}` }, root);
  const over = (v) => info.budget != null && v > info.budget;
  // One upright line for each point: a single step shows, and so does each step of a long run.
  points.forEach(([x, , v], i) => { if (v != null) svg("path", { class: over(v) ? "pp-run-peak pp-run-over" : "pp-run-peak", d: `M${x.toFixed(1)},${peak(Math.min(ground[i], v)).toFixed(1)}V${peak(v).toFixed(1)}` }, root); });
  info.pins.forEach((pin, i) => {
    const [colour, dash] = PINS[i % PINS.length], end = pin.steps.length - 1;
    const line = (values, y) => svg("path", { class: "pp-pinned", stroke: colour, "stroke-dasharray": dash, d: `M${pin.steps.map((s, j) => [s, values[j]]).filter(([, v]) => v != null).map(([s, v]) => `${X(s).toFixed(1)},${y(v).toFixed(1)}`).join("L")}` }, root);
    line(pin.losses, loss);
    if (pin.peaks.some((v) => v != null)) line(pin.peaks, peak);
    svg("text", { class: "pp-strong pp-on-hatch", x: X(pin.steps[end]), y: loss(pin.losses[end]) - 4, "text-anchor": "end" }, root, letter(i));
  });
  svg("path", { class: "pp-run-loss", d: `M${points.map(([x, v]) => `${x.toFixed(1)},${loss(v).toFixed(1)}`).join("L")}` }, root);
  budget(info, root, peak);
  const every = Math.max(1, ...round(0, last, 1, 6).filter((t, i) => i === 1));
  for (let t = 0; t <= last; t += every) svg("text", { x: X(t), y: PEAK[1] + 21, "text-anchor": X(t) > W - R - 20 ? "end" : "middle" }, root, `${Math.round(t)}`);
  text(W - R, H - 4, info.planned ? `step, of ${info.planned}` : "step", "end");
  svg("line", { class: "pp-cursor", x1: points[at][0], x2: points[at][0], y1: LOSS[0], y2: PEAK[1] }, root);
  svg("circle", { class: "pp-peak", cx: points[at][0], cy: loss(points[at][1]), r: 4 }, root);
  const beside = info.pins.length ? ` Beside it ${info.pins.map((p) => p.name).join("; ")}.` : "";
  root.setAttribute("aria-label", `Loss from ${info.losses[0].toPrecision(3)} to ${info.losses[info.losses.length - 1].toPrecision(3)} over ${info.done} steps${info.highest == null ? "" : `, highest peak ${size(info.highest)}`}${info.budget == null ? "" : `, budget ${size(info.budget)}`}.${beside}`);
}

const letter = (i) => String.fromCharCode(65 + i);

// What is pinned, how it differs from this run, and a button to let it go.
function pinned(info, place, unpin) {
  const words = JSON.stringify([info.pins.map((p) => [p.id, p.differs]), info.live]);
  if (place.dataset.words === words) return;
  const held = place.contains(document.activeElement);
  place.dataset.words = words;
  place.replaceChildren(...info.pins.map((pin, i) => {
    const item = html("li", {}), [colour, dash] = PINS[i % PINS.length];
    svg("path", { d: "M0,8H32", class: "pp-pinned", stroke: colour, "stroke-dasharray": dash }, svg("svg", { viewBox: "0 0 32 16", "aria-hidden": "true" }, item));
    const differs = pin.differs.slice(0, 5).map(([name, there, here]) => `${name} ${there}, here ${here}`);
    const more = pin.differs.length > 5 ? `; and ${pin.differs.length - 5} more` : "";
    html("span", { textContent: `${letter(i)}: ${pin.name}${pin.partial ? ` (partial: ${pin.state})` : ""}. ${differs.length ? `Differs in ${differs.join("; ")}${more}.` : "Asked for alike."}` }, item);
    if (!info.live) return item;
    const button = html("button", { type: "button", textContent: `Unpin ${letter(i)}` }, item);
    button.addEventListener("click", () => unpin(pin.id));
    return item;
  }));
  place.hidden = !info.pins.length;
  if (held) (place.querySelector("button") ?? place.parentElement.querySelector("button[data-pin]")).focus();
}

// The inside of one step: what was live from its first to its last operator.
function split(info, place, fills) {
  place.replaceChildren();
  if (!info.by_category.length) return;
  const measured = info.source.startsWith("measured");
  const when = !measured ? "Inside one step by category, predicted; nothing is measured yet."
    : `Inside one step by category, measured once before the first step.${info.held.length ? " Of every further step its peak is measured, and what was held before it by category (coloured above); what it puts on top is one sum (lines)." : " Of every further step its peak is measured."}`;
  html("p", { textContent: when }, place);
  const root = svg("svg", { viewBox: `0 0 ${W} ${INSIDE_H}`, role: "img", "aria-label": `Memory inside one step by category, ${measured ? "measured" : "predicted"}; at its peak ${info.categories.map((name, i) => `${name} ${size(info.by_category[i])}`).join(", ")}.` }, place);
  const high = highest(info), Y = between(INSIDE, 0, high), count = info.phases.length;
  const X = (i) => L + (i / Math.max(1, count - 1)) * (W - L - R);
  ticks(root, bytes(high), Y, (t) => (t ? size(t) : "0"));
  let base = info.phases.map(() => 0);
  info.inside.forEach((values, c) => {
    const top = base.map((b, i) => b + values[i]);
    const edge = (line) => line.map((v, i) => `${X(i).toFixed(1)},${Y(v).toFixed(1)}`);
    if (values.some((v) => v > 0)) svg("path", { class: "pp-area", d: `M${[...edge(top), ...edge(base).reverse()].join("L")}Z`, fill: fills[c] }, root);
    base = top;
  });
  info.phases.forEach((phase, i) => {
    if (i && phase === info.phases[i - 1]) return;
    svg("line", { class: "pp-rail", x1: X(i), x2: X(i), y1: INSIDE[0], y2: INSIDE[1] }, root);
    const next = info.phases.findIndex((p, j) => j > i && p !== phase);
    if (X(next < 0 ? count : next) - X(i) > 90) svg("text", { x: X(i) + 4, y: INSIDE[1] + 21 }, root, phase);
  });
  svg("path", { class: "pp-axis", d: `M${L},${INSIDE[0]}V${INSIDE[1]}H${W - R}` }, root);
  budget(info, root, Y);
  const at = base.indexOf(Math.max(...base)), right = X(at) > W / 2;
  if (count) {
    svg("path", { class: "pp-peak", d: `M${X(at)},${Y(base[at]) - 2}l-5,-9h10Z` }, root);
    svg("text", { class: "pp-strong pp-on-hatch", x: X(at) + (right ? -9 : 9), y: Y(base[at]) - 5, "text-anchor": right ? "end" : "start" }, root, `peak ${size(info.profile_peak)}`);
  }
  const list = html("ul", { className: "pp-legend" }, place);
  info.categories.forEach((name, i) => {
    const item = html("li", {}, list);
    svg("rect", { width: 16, height: 16, fill: fills[i] }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
    html("strong", { textContent: size(info.by_category[i]) }, item);
  });
  html("p", { className: "pp-detail", textContent: `${info.profile_sentence} (${info.source})` }, place);
}

function why(info, place) {
  const words = JSON.stringify([info.reason, info.ways]);
  if (place.dataset.words === words) return; // an alert is read again each time it is written
  place.dataset.words = words;
  place.replaceChildren();
  place.removeAttribute("role");
  if (!info.reason) return;
  if (info.bad) place.setAttribute("role", "alert");
  html("p", { textContent: `${info.reason[0].toUpperCase()}${info.reason.slice(1)}` }, place);
  if (!info.ways.length) return;
  html("p", { textContent: "Ways out, each verified by a prediction:" }, place);
  const list = html("ul", {}, place);
  for (const way of info.ways) html("li", { textContent: way }, list);
}

function render({ model, el }) {
  // JupyterLab takes arrow keys for its own unless the control that has the focus says that it needs them.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  const parts = skeleton(el, `pp-run-${++serial}`);
  let info = model.get("info"), at = null, asked = false, spoken = "", drawn = "", silent = 0, gone = false;

  function point() {
    const found = at == null ? -1 : info.steps.findIndex((step) => step >= at), i = found < 0 ? info.steps.length - 1 : found;
    chart(info, parts.chart, i, parts.fill(info.colours));
    const peak = info.peaks[i];
    parts.slider.value = i;
    const first = i ? info.steps[i - 1] + 1 : 1, several = first < info.steps[i];
    parts.reading.textContent = `step${several ? `s ${first} to` : ""} ${info.steps[i]}: loss ${info.losses[i].toPrecision(4)}${several ? " in the mean" : ""}${peak == null ? "" : `, peak ${size(peak)}`}`;
    parts.slider.setAttribute("aria-valuetext", parts.reading.textContent);
  }

  function paint() {
    info = model.get("info");
    asked = asked && !info.over && info.state !== "ready";
    const lost = info.live && gone;
    const state = lost && !info.over ? "gone" : asked ? "cancelling" : info.state;
    const words = state === "gone" ? `${info.method} ended with its kernel${info.done ? `, after step ${info.done}` : ""}.`
      : asked && info.state !== "cancelling" ? `${info.method} is cancelling. Step ${info.done} of ${info.planned}.` : info.sentence;
    parts.said.textContent = `${SIGNS[state] ?? "✕"} ${words}${lost ? " The kernel was restarted; run this cell again." : ""}`;
    parts.said.classList.toggle("pp-bad", info.bad);
    el.dataset.state = state;
    parts.start.hidden = parts.cancel.hidden = !info.live;
    parts.start.textContent = info.state === "done" ? "Train again" : info.over ? "Start again" : "Start";
    able(parts.start, !lost && REPEATABLE.includes(state), lost ? "The kernel was restarted" : info.over ? "The result is kept" : "Under way");
    able(parts.cancel, !lost && STOPPABLE.includes(state), "Nothing is under way");
    parts.command.hidden = parts.python.hidden = !info.python;
    able(parts.command, info.command, "The command line cannot say this; copy as Python");
    parts.progress.hidden = !info.planned || info.over || lost;
    parts.progress.max = info.planned || 1;
    parts.progress.value = info.done;
    // Spoken when the state changes and at each fifth of the way, not at each step.
    const milestone = `${state} ${lost} ${Math.floor((5 * info.done) / (info.planned || 1))}`;
    if (milestone !== spoken) { spoken = milestone; parts.spoken.textContent = parts.said.textContent; }
    why(info, parts.why);
    parts.graph.hidden = !info.steps.length;
    if (info.steps.length) { parts.slider.max = info.steps.length - 1; point(); }
    parts.pin.hidden = !info.live;
    parts.pin.textContent = info.is_pinned ? "Unpin" : "Pin to compare";
    able(parts.pin, !lost && info.over && info.steps.length, lost ? "The kernel was restarted" : info.over ? "No step was done" : "Not over yet");
    pinned(info, parts.pins, (run) => { if (!gone) ask("unpin", { run }); });
    const made = JSON.stringify([info.by_category, info.source, info.budget, info.held.length, Math.round(highest(info) / 1024)]);
    if (made !== drawn) { drawn = made; split(info, parts.split, parts.fill(info.colours)); }
  }

  const press = (button, act) => button.addEventListener("click", () => { if (button.getAttribute("aria-disabled") !== "true") act(); });
  function ask(what, more = {}) {
    model.send({ do: what, ...more });
    clearTimeout(silent);
    silent = setTimeout(() => { parts.spoken.textContent = parts.said.textContent = `? The kernel has not answered for ${PATIENCE / 1000} s: it is busy, or it was started anew; then run this cell again.`; }, PATIENCE);
  }
  function told() { clearTimeout(silent); paint(); }
  // The front end lost the kernel behind this panel: nothing that needs one may look as if it worked.
  function lose() { gone = true; told(); }

  press(parts.start, () => { at = null; ask("start"); });
  press(parts.cancel, () => { asked = true; paint(); ask("cancel"); });
  parts.pin.dataset.pin = "";
  press(parts.pin, () => ask(info.is_pinned ? "unpin" : "pin"));
  press(parts.command, () => copy(info.command, parts.command, "Copy as command"));
  press(parts.python, () => copy(info.python, parts.python, "Copy as Python"));
  parts.slider.addEventListener("input", () => {
    const i = +parts.slider.value;
    at = i === info.steps.length - 1 ? null : info.steps[i]; // at the end it follows the run
    point();
  });
  model.on("change:info", told);
  model.on("comm_live_update", lose);
  paint();
  return () => { clearTimeout(silent); model.off("change:info", told); model.off("comm_live_update", lose); el.replaceChildren(); };
}

export default { render };
