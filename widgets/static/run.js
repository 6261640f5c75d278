// One training run: how it stands, its loss, the peak of each step under the budget, and what the step is made of.
// Draws model.get("info") and imports nothing. Start and Cancel are messages; without a kernel they are not shown.
const NS = "http://www.w3.org/2000/svg";
const W = 900, L = 78, R = 16, LOSS = [14, 150], PEAK = [186, 318], H = 372, BAR = 26;
const SIGNS = { ready: "○", queued: "…", preparing: "…", running: "▶", cancelling: "■", done: "✓", cancelled: "■", diverged: "≁", gone: "∅" };
const STOPPABLE = ["queued", "preparing", "running"], REPEATABLE = ["ready", "cancelled", "over budget", "out of memory", "diverged", "failed"];
const PATIENCE = 5000;
// A second sign beside the colour: none, upright, crossed, rising, falling, level.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8"];
let serial = Math.floor(Math.random() * 1e9); // JupyterLab loads one copy of a module per panel, ids must differ

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
function skeleton(el) {
  el.replaceChildren();
  el.classList.add("pp-panel");
  const bar = html("div", { className: "pp-controls" }, el);
  const button = (name) => html("button", { type: "button", textContent: name }, bar);
  const parts = { start: button("Start"), cancel: button("Cancel"), command: button("Copy as command"), python: button("Copy as Python") };
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
  parts.split = html("div", {}, el);
  return parts;
}

function able(button, yes, why = "") {
  button.setAttribute("aria-disabled", !yes);
  button.title = yes ? "" : why;
}

function chart(info, root, at) {
  root.replaceChildren();
  const end = info.steps[info.steps.length - 1], last = info.over ? end : Math.max(info.planned, end);
  const X = (step) => L + (step / last) * (W - L - R);
  const low = Math.min(...info.losses), top = Math.max(...info.losses), pad = (top - low || Math.abs(top) || 1) * 0.08;
  const high = Math.max(info.budget ?? 0, info.highest ?? 0, 1) * 1.14;
  const between = ([a, b], from, to) => (v) => b - ((v - from) / (to - from)) * (b - a);
  const loss = between(LOSS, low - pad, top + pad), peak = between(PEAK, 0, high);
  const ticks = (values, y, print) => values.forEach((t) => {
    svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: y(t), y2: y(t) }, root);
    svg("text", { x: L - 8, y: y(t) + 4, "text-anchor": "end" }, root, print(t));
  });
  ticks(round(low - pad, top + pad), loss, (t) => `${+t.toPrecision(3)}`);
  ticks(round(0, high, 1024 ** Math.floor(Math.log(high) / Math.log(1024))), peak, (t) => (t ? size(t) : "0"));
  const text = (x, y, words, anchor = "start") => svg("text", { x, y, "text-anchor": anchor, class: "pp-strong" }, root, words);
  text(L + 4, LOSS[0] - 2, "training loss");
  text(L + 4, PEAK[0] - 8, "peak of each step");
  for (const band of [LOSS, PEAK]) svg("path", { class: "pp-axis", d: `M${L},${band[0]}V${band[1]}H${W - R}` }, root);
  const points = info.steps.map((s, i) => [X(s), info.losses[i], info.peaks[i]]);
  svg("path", { class: "pp-run-loss", d: `M${points.map(([x, v]) => `${x.toFixed(1)},${loss(v).toFixed(1)}`).join("L")}` }, root);
  const known = points.filter(([, , v]) => v != null);
  const over = (v) => info.budget != null && v > info.budget;
  // One upright line for each point: a single step shows, and so does each step of a long run.
  for (const [x, , v] of known) svg("path", { class: over(v) ? "pp-run-peak pp-run-over" : "pp-run-peak", d: `M${x.toFixed(1)},${peak(0)}V${peak(v).toFixed(1)}` }, root);
  if (info.budget != null) {
    svg("line", { class: "pp-budget", x1: L, x2: W - R, y1: peak(info.budget), y2: peak(info.budget) }, root);
    svg("text", { class: "pp-budget-name", x: W - R, y: peak(info.budget) - 5, "text-anchor": "end" }, root, `budget ${size(info.budget)}`);
  }
  const every = Math.max(1, ...round(0, last, 1, 6).filter((t, i) => i === 1));
  for (let t = 0; t <= last; t += every) svg("text", { x: X(t), y: PEAK[1] + 21, "text-anchor": X(t) > W - R - 20 ? "end" : "middle" }, root, `${Math.round(t)}`);
  text(W - R, H - 4, info.planned ? `step, of ${info.planned}` : "step", "end");
  svg("line", { class: "pp-cursor", x1: points[at][0], x2: points[at][0], y1: LOSS[0], y2: PEAK[1] }, root);
  svg("circle", { class: "pp-peak", cx: points[at][0], cy: loss(points[at][1]), r: 4 }, root);
  root.setAttribute("aria-label", `Loss from ${info.losses[0].toPrecision(3)} to ${info.losses[info.losses.length - 1].toPrecision(3)} over ${info.done} steps${info.highest == null ? "" : `, highest peak ${size(info.highest)}`}${info.budget == null ? "" : `, budget ${size(info.budget)}`}.`);
}

function split(info, place, id) {
  place.replaceChildren();
  if (!info.by_category.length) return;
  const kind = info.source.startsWith("measured") ? "measured" : "predicted";
  html("p", { className: "pp-detail", textContent: `${info.profile_sentence} (${info.source})` }, place);
  const root = svg("svg", { viewBox: `0 0 ${W} ${BAR + 22}`, role: "img", "aria-label": `Memory at the peak of the step by category, ${kind}.` }, place);
  const defs = svg("defs", {}, root);
  const fills = info.colours.map((colour, i) => {
    const pattern = svg("pattern", { id: `${id}-${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, defs);
    svg("rect", { width: 8, height: 8, fill: colour }, pattern);
    if (TEXTURES[i]) svg("path", { d: TEXTURES[i], class: "pp-texture" }, pattern);
    return `url(#${id}-${i})`;
  });
  const high = Math.max(info.budget ?? 0, info.profile_peak) * 1.08, X = (v) => (v / high) * W;
  const list = html("ul", { className: "pp-legend" }, place);
  let base = 0;
  info.categories.forEach((name, i) => {
    const bytes = info.by_category[i];
    if (bytes > 0) svg("rect", { class: "pp-area", x: X(base).toFixed(1), y: 2, width: X(bytes).toFixed(1), height: BAR, fill: fills[i] }, root);
    base += bytes;
    const item = html("li", {}, list);
    svg("rect", { width: 16, height: 16, fill: fills[i] }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
    html("strong", { textContent: size(bytes) }, item);
  });
  if (info.budget == null) return;
  const x = X(info.budget), right = x > W / 2;
  for (const name of ["pp-halo", "pp-budget"]) svg("line", { class: name, x1: x, x2: x, y1: 0, y2: BAR + 4 }, root);
  svg("text", { class: "pp-budget-name", x: right ? x - 4 : x + 4, y: BAR + 18, "text-anchor": right ? "end" : "start" }, root, `budget ${size(info.budget)}`);
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
  const parts = skeleton(el), id = `pp-run-${++serial}`;
  let info = model.get("info"), at = null, asked = false, spoken = "", drawn = "", silent = 0, gone = false;

  function point() {
    const i = Math.min(at ?? Infinity, info.steps.length - 1);
    chart(info, parts.chart, i);
    const peak = info.peaks[i];
    parts.slider.value = i;
    parts.reading.textContent = `step ${info.steps[i]}: loss ${info.losses[i].toPrecision(4)}${peak == null ? "" : `, peak ${size(peak)}`}`;
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
    parts.start.textContent = info.over ? "Start again" : "Start";
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
    const made = JSON.stringify([info.by_category, info.source, info.budget]);
    if (made !== drawn) { drawn = made; split(info, parts.split, id); }
  }

  const press = (button, act) => button.addEventListener("click", () => { if (button.getAttribute("aria-disabled") !== "true") act(); });
  function ask(what) {
    model.send({ do: what });
    clearTimeout(silent);
    silent = setTimeout(() => { parts.spoken.textContent = parts.said.textContent = `? The kernel has not answered for ${PATIENCE / 1000} s: it is busy, or it was started anew; then run this cell again.`; }, PATIENCE);
  }
  function told() { clearTimeout(silent); paint(); }
  // The front end lost the kernel behind this panel: nothing that needs one may look as if it worked.
  function lose() { gone = true; told(); }

  press(parts.start, () => { at = null; ask("start"); });
  press(parts.cancel, () => { asked = true; paint(); ask("cancel"); });
  press(parts.command, () => copy(info.command, parts.command, "Copy as command"));
  press(parts.python, () => copy(info.python, parts.python, "Copy as Python"));
  parts.slider.addEventListener("input", () => {
    at = +parts.slider.value;
    if (at === info.steps.length - 1) at = null; // at the end it follows the run
    point();
  });
  model.on("change:info", told);
  model.on("comm_live_update", lose);
  paint();
  return () => { clearTimeout(silent); model.off("change:info", told); model.off("comm_live_update", lose); el.replaceChildren(); };
}

export default { render };
