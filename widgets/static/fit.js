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
let serial = 0;

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

const percent = (v) => (v >= 0 && v <= 1 ? `${(v * 100).toFixed(1)} %` : v.toPrecision(4));
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

function verdict(m, budget) {
  if (m.reason) return ["cannot", `cannot: ${m.reason}`];
  if (m.peak == null) return ["unknown", "peak not known"];
  if (budget == null || m.peak <= budget) return ["fits", budget == null ? "no budget" : `fits, ${size(budget - m.peak)} free`];
  return ["over", `${size(m.peak - budget)} over, ${m.binding}`];
}

const SIGNS = { fits: "✓", over: "✕", cannot: "⊘", unknown: "?" };

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  const peaks = info.methods.map((m) => m.peak).filter((p) => p != null);
  if (!peaks.length) { html("p", { textContent: "No method has a known peak." }, el); return undefined; }
  const anchors = [...peaks, ...(info.budget ? [info.budget] : []), ...info.marks.map((m) => m[1])];
  const low = Math.min(...anchors) / 2, high = Math.max(...anchors) * 2, widest = Math.max(...peaks) * 1.05;
  const toBytes = (s) => Math.round(low * (high / low) ** (s / 500));
  const toSlider = (b) => (Math.log(b / low) / Math.log(high / low)) * 500;
  let budget = info.budget ?? null, order = "peak memory", wanted = "";

  const bar = html("div", { className: "pp-controls" }, el);
  const budgetLabel = html("label", { textContent: "Budget " }, bar);
  const slider = html("input", { type: "range", min: 0, max: 500, step: 1 }, budgetLabel);
  const shown = html("output", {}, budgetLabel);
  for (const [name, bytes] of info.marks) {
    const mark = html("button", { type: "button", textContent: name }, bar);
    mark.addEventListener("click", () => { budget = bytes; judge(); });
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
  const table = html("table", { className: "pp-table" }, frame);
  const head = html("tr", {}, html("thead", {}, table));
  for (const title of ["Method", "Verdict", "Peak by category", "Peak", ...(timed ? ["Step"] : []), ...(powered ? ["Energy"] : []), info.metric]) {
    html("th", { scope: "col", textContent: title }, head);
  }
  const body = html("tbody", {}, table);
  const fills = textures(el, info.colours);
  const rows = info.methods.map((m) => {
    const row = html("tr", {});
    html("th", { scope: "row", textContent: m.label, title: m.family }, row);
    const said = html("td", {}, row);
    const picture = svg("svg", { viewBox: `0 0 ${BAR} 16`, "aria-hidden": "true" }, html("td", {}, row));
    let x = 0;
    m.by_category.forEach((bytes, i) => {
      const width = (bytes / widest) * BAR;
      if (width > 0) svg("rect", { x: x.toFixed(2), y: 2, width: width.toFixed(2), height: 12, fill: fills[i] }, picture);
      x += width;
    });
    const line = svg("line", { class: "pp-budget", y1: 0, y2: 16 }, picture);
    html("td", { textContent: m.peak == null ? "–" : `${size(m.peak)} (${m.source.startsWith("measured") ? "measured" : "predicted"})`, title: m.source }, row);
    if (timed) html("td", { textContent: absent(m.step_time, seconds, m.step_time_kind) }, row);
    if (powered) html("td", { textContent: absent(m.energy, joules, m.energy_kind) }, row);
    html("td", { textContent: absent(m.score, percent) }, row);
    return { m, row, said, line };
  });
  const legend = html("ul", { className: "pp-legend" }, el);
  info.categories.forEach((name, i) => {
    const item = html("li", {}, legend);
    svg("rect", { width: 16, height: 16, fill: fills[i] }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
  });

  function judge() {
    let fitting = 0;
    for (const { m, row, said, line } of rows) {
      const [state, text] = verdict(m, budget);
      fitting += state === "fits";
      row.dataset.state = state;
      said.textContent = `${SIGNS[state]} ${text}`;
      said.title = state === "over" && m.layer ? `peak reached in ${m.layer}` : "";
      const x = budget == null ? -5 : Math.min(BAR + 5, (budget / widest) * BAR);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
    }
    shown.textContent = budget == null ? "none" : size(budget);
    slider.value = toSlider(budget ?? high);
    slider.setAttribute("aria-valuetext", shown.textContent);
    const device = info.device ? ` on ${info.device}` : "";
    summary.textContent = `${fitting} of ${rows.length} methods fit${budget == null ? "" : ` under ${size(budget)}`}${device}.`;
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
  arrange();
  judge();
  return () => el.replaceChildren();
}

// Draw now and again whenever the data change; the returned function takes everything away.
function render({ model, el }) {
  let remove = draw({ model, el });
  const again = () => { remove?.(); remove = draw({ model, el }); };
  model.on("change:info", again);
  return () => { model.off("change:info", again); remove?.(); el.replaceChildren(); };
}

export default { render };
