// Every method against a budget that the reader moves: fits, or not and why. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const BAR = 300;

function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

function svg(tag, attributes, parent) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (parent) parent.append(node);
  return node;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < 4) { bytes /= 1024; i++; }
  return `${i === 0 ? Math.round(bytes) : bytes.toFixed(bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2)} ${units[i]}`;
}

// A second sign beside the colour: none, upright, crossed, rising, falling, level.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8"];
let serial = Math.floor(Math.random() * 1e9); // JupyterLab loads one copy of a module per panel, ids must differ

function textures(parent, colours) {
  const id = `pp-fit-${++serial}`;
  const defs = svg("defs", {}, svg("svg", { width: 0, height: 0, class: "pp-defs", "aria-hidden": "true" }, parent));
  return colours.map((colour, i) => {
    const pattern = svg("pattern", { id: `${id}-${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, defs);
    svg("rect", { width: 8, height: 8, fill: colour }, pattern);
    if (TEXTURES[i]) svg("path", { d: TEXTURES[i], class: "pp-texture" }, pattern);
    return `url(#${id}-${i})`;
  });
}

const score = (v, share) => (share ? `${(v * 100).toFixed(1)} %` : `${+v.toPrecision(4)}`);
const seconds = (s) => (s < 1 ? `${(s * 1000).toPrecision(3)} ms` : s < 120 ? `${s.toPrecision(3)} s` : `${(s / 60).toPrecision(3)} min`);
const joules = (j) => (j < 1 ? `${(j * 1000).toPrecision(3)} mJ` : `${j.toPrecision(3)} J`);
const absent = (v, print, kind) => (v == null ? "–" : `${print(v)}${kind ? ` (${kind})` : ""}`);

const ORDERS = {
  "peak memory": (m) => m.peak ?? Infinity,
  name: (m) => m.label,
  family: (m) => m.family,
  "step time": (m) => m.step_time ?? Infinity,
  score: (m) => -(m.score ?? -Infinity),
};

// Values of the terms at a batch and length, in the order of `names`; see workbench/memory/size_model.py.
const TERMS = { 1: () => 1, "b t": (b, t) => b * t, b: (b) => b, t: (b, t) => t, "b t^2": (b, t) => b * t * t, "t^2": (b, t) => t * t };
const powers = (names, b, t) => names.map((name) => TERMS[name](b, t));
const dot = (coefficients, at) => coefficients.reduce((sum, c, i) => sum + c * at[i], 0);

// The row with the most bytes at a shape: [bytes by category, row].
function highest(sizes, count, batch, length) {
  const at = powers(sizes.terms, batch, length);
  let best = null, most = -1;
  for (const row of sizes.rows) {
    let total = 0;
    for (const part of row[2]) total += part[2] * at[part[1]];
    if (total > most) { most = total; best = row; }
  }
  const split = new Array(count).fill(0);
  for (const [category, term, eighths] of best[2]) split[category] += (eighths / 8) * at[term];
  return [split.map(Math.round), best];
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

// Why the sizes cannot answer this shape; empty when they can.
function refusal(sizes, batch, length) {
  if (batch === sizes.traced[0] && length === sizes.traced[1]) return "";
  if (sizes.reason) return sizes.reason;
  return length !== sizes.traced[1] && !sizes.lengths ? "only the batch was fitted" : "";
}

// The method as it is at another batch and length.
function reshaped(m, info, batch, length) {
  const own = info.shape && batch === info.shape[0] && length === info.shape[1];
  if (own || !m.sizes) return m;
  const unknown = { ...m, peak: null, by_category: [], ways: [], step_time: null, energy: null };
  const why = refusal(m.sizes, batch, length);
  if (why) return { ...unknown, source: why };
  const [split, [layer, bound]] = highest(m.sizes, info.categories.length, batch, length);
  if (bound) return { ...unknown, source: "known as an upper bound only" };
  const at = powers(m.sizes.work_terms, batch, length);
  const costs = m.sizes.seconds.map((g) => g.map((c) => Math.max(0, dot(c, at))));
  const time = costs.length ? sum(costs.map(([computing, moving, calling]) => Math.max(computing, moving) + calling)) : null;
  const binding = info.categories[split.indexOf(Math.max(...split))];
  const energy = time != null && m.sizes.watts != null ? time * m.sizes.watts : null;
  const source = batch === 1 ? "fitted; batch 1 skips some copies, so this may be a little high" : "fitted";
  const kinds = { step_time_kind: "extrapolated", energy_kind: "extrapolated" };
  return { ...m, peak: sum(split), by_category: split, binding, layer, ways: [], source, step_time: time, energy, ...kinds };
}

// The largest smaller batch that fits, 0 if there is none: peaks grow with the batch.
function smaller(m, info, budget, batch, length) {
  if (!m.sizes || refusal(m.sizes, 1, length)) return 0;
  const peak = (b) => sum(highest(m.sizes, info.categories.length, b, length)[0]);
  if (batch < 2 || peak(1) > budget) return 0;
  let low = 1, high = batch;
  while (high - low > 1) { const middle = (low + high) >> 1; if (peak(middle) <= budget) low = middle; else high = middle; }
  return low;
}

function verdict(m, info, budget, batch, length) {
  if (m.reason) return ["cannot", `cannot: ${m.reason}`];
  if (m.peak == null) return ["unknown", m.source.includes(" ") ? `not predicted: ${m.source}` : "peak not known"];
  if (budget == null || m.peak <= budget) return ["fits", budget == null ? "no budget" : `fits, ${size(budget - m.peak)} free`];
  const way = (m.ways ?? []).find(([, bytes]) => bytes <= budget);
  const batches = smaller(m, info, budget, batch, length);
  const change = batches ? `batch ${batches}` : way?.[0];
  const over = `${size(m.peak - budget)} over, ${m.binding}`;
  return change ? ["if", `fits if ${change} (${over})`] : ["over", over];
}

const SIGNS = { fits: "✓", if: "◐", over: "✕", cannot: "⊘", unknown: "?" };

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  const known0 = info.methods.filter((m) => m.peak != null);
  if (!known0.length) { html("p", { textContent: "No method has a known peak." }, el); return undefined; }
  let low, high, widest;
  function span(methods) {
    const peaks = methods.map((m) => m.peak).filter((p) => p != null);
    const anchors = [...peaks, ...(budget ? [budget] : []), ...info.marks.map((m) => m[1])];
    low = Math.min(...anchors) / 2; high = Math.max(...anchors) * 2; widest = Math.max(1, ...peaks) * 1.05;
  }
  const toBytes = (s) => Math.round(low * (high / low) ** (s / 500));
  const toSlider = (b) => (Math.log(b / low) / Math.log(high / low)) * 500;
  let budget = info.budget ?? null, order = "peak memory", wanted = "";
  let [batch, length] = info.shape ?? [0, 0];
  const long = info.methods.some((m) => m.sizes?.lengths);
  span(info.methods);

  const bar = html("div", { className: "pp-controls" }, el);
  const budgetLabel = html("label", { textContent: "Budget " }, bar);
  const slider = html("input", { type: "range", min: 0, max: 500, step: 1 }, budgetLabel);
  const shown = html("output", {}, budgetLabel);
  const ticks = html("datalist", { id: `pp-fit-marks-${++serial}` }, bar);
  slider.setAttribute("list", ticks.id);
  const marks = html("select", {});
  if (info.marks.length) {
    html("label", { textContent: "Mark " }, bar).append(marks);
    html("option", { value: "", textContent: "none" }, marks);
    for (const [name, bytes] of info.marks) html("option", { value: bytes, textContent: name }, marks);
    marks.addEventListener("change", () => { if (marks.value) { budget = +marks.value; judge(); } });
  }
  function number(name, value, change) {
    const label = html("label", { textContent: `${name} ` }, bar);
    const input = html("input", { type: "number", min: 1, max: 65536, step: 1, value }, label);
    input.addEventListener("input", () => { if (input.checkValidity() && input.value) { change(Math.round(+input.value)); reshape(); } });
    return input;
  }
  if (info.shape) {
    number("Batch", batch, (v) => { batch = v; });
    if (long) number("Length", length, (v) => { length = v; });
  }
  const orderLabel = html("label", { textContent: "Sort by " }, bar);
  const select = html("select", {}, orderLabel);
  for (const name of Object.keys(ORDERS)) html("option", { value: name, textContent: name }, select);
  const filterLabel = html("label", { textContent: "Filter " }, bar);
  const filter = html("input", { type: "search", size: 12 }, filterLabel);
  const summary = html("p", { className: "pp-detail" }, el);
  summary.setAttribute("aria-live", "polite");

  const known = (part) => info.methods.some((m) => m[part] != null);
  const timed = known("step_time"), powered = known("energy");
  const frame = html("div", { className: "pp-scroll", tabIndex: 0 }, el);
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", info.title);
  const table = html("table", { className: "pp-table pp-fit" }, frame);
  const head = html("tr", {}, html("thead", {}, table));
  for (const title of ["Method", "Verdict", "Peak by category", "Peak", ...(timed ? ["Step"] : []), ...(powered ? ["Energy"] : []), ...(info.metric ? [info.metric] : [])]) {
    html("th", { scope: "col", textContent: title }, head);
  }
  const body = html("tbody", {}, table);
  const fills = textures(el, info.colours);
  const rows = info.methods.map((m) => {
    const row = html("tr", {});
    html("th", { scope: "row", textContent: m.label, title: m.family }, row);
    const said = html("td", {}, row);
    const picture = svg("svg", { viewBox: `0 0 ${BAR} 16`, preserveAspectRatio: "none", "aria-hidden": "true" }, html("td", {}, row));
    const bars = svg("g", {}, picture);
    const line = svg("line", { class: "pp-budget", y1: 0, y2: 16 }, picture);
    const cells = { peak: html("td", {}, row) };
    if (timed) cells.time = html("td", {}, row);
    if (powered) cells.energy = html("td", {}, row);
    if (info.metric) html("td", { textContent: absent(m.score, (v) => score(v, info.share)) }, row);
    return { given: m, m, row, said, line, bars, cells };
  });
  const legend = html("ul", { className: "pp-legend" }, el);
  info.categories.forEach((name, i) => {
    const item = html("li", {}, legend);
    svg("rect", { width: 16, height: 16, fill: fills[i] }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
  });

  function paint({ m, bars, cells }) {
    bars.replaceChildren();
    let x = 0;
    m.by_category.forEach((bytes, i) => {
      const width = (bytes / widest) * BAR;
      if (width > 0) svg("rect", { x: x.toFixed(2), y: 2, width: width.toFixed(2), height: 12, fill: fills[i] }, bars);
      x += width;
    });
    const kind = m.source.startsWith("measured") ? "measured" : m.source.startsWith("fitted") ? "fitted" : "predicted";
    cells.peak.textContent = m.peak == null ? "–" : `${size(m.peak)} (${kind})`;
    cells.peak.title = m.source;
    if (cells.time) cells.time.textContent = absent(m.step_time, seconds, m.step_time_kind);
    if (cells.energy) cells.energy.textContent = absent(m.energy, joules, m.energy_kind);
  }

  function reshape() {
    for (const row of rows) row.m = reshaped(row.given, info, batch, length);
    span(rows.map((row) => row.m));
    ticks.replaceChildren(...info.marks.map(([label, bytes]) => Object.assign(document.createElement("option"), { value: Math.round(toSlider(bytes)), label })));
    rows.forEach(paint);
    arrange();
    judge();
  }

  function judge() {
    let fitting = 0;
    for (const { m, row, said, line } of rows) {
      const [state, text] = verdict(m, info, budget, batch, length);
      fitting += state === "fits";
      row.dataset.state = state;
      said.textContent = `${SIGNS[state]} ${text}`;
      said.title = (state === "over" || state === "if") && m.layer ? `peak reached in ${m.layer}` : "";
      const x = budget == null ? -5 : Math.min(BAR + 5, (budget / widest) * BAR);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    shown.textContent = budget == null ? "none" : size(budget);
    slider.value = toSlider(budget ?? high);
    marks.value = info.marks.some((m) => m[1] === budget) ? budget : "";
    slider.setAttribute("aria-valuetext", shown.textContent);
    const device = info.device ? ` on ${info.device}` : "";
    summary.textContent = `${fitting} of ${rows.length} methods fit${budget == null ? "" : ` under ${size(budget)}`}${device}${info.shape ? `, batch ${batch}${long ? `, length ${length}` : ""}` : ""}.`;
  }

  function arrange() {
    const key = ORDERS[order];
    const kept = rows.filter(({ m }) => `${m.label} ${m.family}`.toLowerCase().includes(wanted));
    kept.sort((a, b) => (key(a.m) < key(b.m) ? -1 : key(a.m) > key(b.m) ? 1 : 0));
    body.replaceChildren(...kept.map(({ row }) => row));
  }

  slider.addEventListener("input", () => { budget = toBytes(+slider.value); judge(); });
  select.addEventListener("change", () => { order = select.value; arrange(); });
  filter.addEventListener("input", () => { wanted = filter.value.trim().toLowerCase(); arrange(); });
  reshape();
  return () => el.replaceChildren();
}

// Draw now and again whenever the data change; the returned function takes everything away.
function render({ model, el }) {
  // JupyterLab takes arrow keys for its own unless the control that has the focus says that it needs them.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  let remove = draw({ model, el });
  const again = () => { remove?.(); remove = draw({ model, el }); };
  model.on("change:info", again);
  return () => { model.off("change:info", again); remove?.(); el.replaceChildren(); };
}

export default { render };
