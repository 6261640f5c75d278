// Step through the memory of one training step. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const W = 900, H = 344, L = 94, R = 16, T = 26, B = 38;
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

// A second sign beside the colour: none, upright, crossed, rising, falling, level.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8"];

function textures(root, colours, id) {
  const defs = svg("defs", {}, root);
  return colours.map((colour, i) => {
    const pattern = svg("pattern", { id: `${id}-${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, defs);
    svg("rect", { width: 8, height: 8, fill: colour }, pattern);
    if (TEXTURES[i]) svg("path", { d: TEXTURES[i], class: "pp-texture" }, pattern);
    return `url(#${id}-${i})`;
  });
}

function ticks(high) {
  const unit = 1024 ** Math.floor(Math.log(high) / Math.log(1024));
  const rough = high / unit / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) * unit;
  const found = [];
  for (let t = 0; t <= high; t += step) found.push(t);
  return found;
}

function draw({ model, el }) {
  const info = model.get("info");
  const id = `pp-timeline-${++serial}`;
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.steps.length) { html("p", { textContent: "No run recorded a timeline." }, el); return undefined; }

  const bar = html("div", { className: "pp-controls" }, el);
  const chooser = html("label", { textContent: "Method " }, bar);
  const select = html("select", {}, chooser);
  info.steps.forEach((s, i) => html("option", { value: i, textContent: s.label }, select));
  const moment = html("label", { textContent: "Moment " }, bar);
  const slider = html("input", { type: "range", min: 0, step: 1 }, moment);
  const peak = html("button", { type: "button", textContent: "Go to the peak" }, bar);
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, el);
  const sentence = html("p", { className: "pp-detail" }, el);
  sentence.setAttribute("aria-live", "polite");
  const list = html("ul", { className: "pp-legend" }, el);
  const held = html("div", { className: "pp-scroll", tabIndex: 0 }, el);
  held.setAttribute("role", "region");
  const unplaced = html("p", {}, el);

  const high = Math.max(...info.steps.map((s) => s.peak), info.budget ?? 0) * 1.12;
  const Y = (v) => H - B - (v / high) * (H - T - B);
  const fills = textures(root, info.colours, id);
  const plot = svg("g", {}, root);
  const cursor = svg("line", { class: "pp-cursor", y1: T, y2: H - B }, root);
  let step = info.steps[0], at = step.peak_index;
  const X = (i) => L + (i / Math.max(1, step.events.length - 1)) * (W - L - R);

  const items = info.categories.map((name, i) => {
    const item = html("li", {}, list);
    const key = svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item);
    svg("rect", { width: 16, height: 16, fill: fills[i] }, key);
    html("span", { textContent: name }, item);
    return html("strong", {}, item);
  });

  function stack() {
    plot.replaceChildren();
    for (const t of ticks(high)) {
      svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }, plot);
      svg("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, plot, t ? size(t) : "0");
    }
    let base = step.events.map(() => 0);
    info.categories.forEach((name, c) => {
      const top = base.map((b, i) => b + step.live[name][i]);
      if (step.live[name].some((v) => v > 0)) {
        const up = top.map((v, i) => `${X(i).toFixed(1)},${Y(v).toFixed(1)}`);
        const down = base.map((v, i) => `${X(i).toFixed(1)},${Y(v).toFixed(1)}`).reverse();
        svg("path", { class: "pp-area", d: `M${[...up, ...down].join("L")}Z`, fill: fills[c] }, plot);
      }
      base = top;
    });
    step.phases.forEach((phase, i) => {
      if (i && phase === step.phases[i - 1]) return;
      svg("line", { class: "pp-rail", x1: X(i), x2: X(i), y1: T, y2: H - B }, plot);
      let end = i;
      while (step.phases[end + 1] === phase) end++;
      if (X(end) - X(i) > 70) svg("text", { x: X(i) + 4, y: H - B + 22 }, plot, phase);
    });
    if (info.budget) {
      svg("line", { class: "pp-budget", x1: L, x2: W - R, y1: Y(info.budget), y2: Y(info.budget) }, plot);
      svg("text", { class: "pp-budget-name", x: W - R, y: Y(info.budget) - 6, "text-anchor": "end" }, plot, `budget ${size(info.budget)}`);
    }
    svg("path", { class: "pp-axis", d: `M${L},${T}V${H - B}H${W - R}` }, plot);
    const [px, py] = [X(step.peak_index), Y(base[step.peak_index])];
    svg("path", { class: "pp-peak", d: `M${px},${py - 2}l-5,-9h10Z` }, plot);
    svg("text", { class: "pp-strong", x: px + (px > W / 2 ? -9 : 9), y: py - 5, "text-anchor": px > W / 2 ? "end" : "start" }, plot, `peak ${size(step.peak)}`);
    root.setAttribute("aria-label", `${step.label}, ${step.source}. ${step.peak_sentence}`);
    table();
  }

  // One row for each layer, in the order of the network: rows stay where they are while the moment moves.
  let rows = [], widest = 1;
  function table() {
    held.replaceChildren();
    held.hidden = !step.layers.length && !step.peak_layers.length;
    const made = html("table", { className: "pp-table pp-held" }, held);
    const at = step.layers.length ? "at this moment" : "at the peak; this run kept no other moment by layer";
    held.setAttribute("aria-label", "Alive by layer and category");
    html("caption", { textContent: `Alive by layer ${at}` }, made);
    const head = html("tr", {}, html("thead", {}, made)), body = html("tbody", {}, made);
    for (const title of ["Layer", "By category", "Bytes"]) html("th", { scope: "col", textContent: title }, head);
    rows = (step.layers.length ? step.layers : step.peak_layers.map(([name]) => name)).map((name) => {
      const row = html("tr", {}, body);
      html("th", { scope: "row", textContent: name }, row);
      const picture = svg("svg", { viewBox: "0 0 300 14", preserveAspectRatio: "none", "aria-hidden": "true" }, html("td", {}, row));
      return { row, picture, said: html("td", {}, row) };
    });
    widest = Math.max(1, ...step.peak_layers.map(([, bytes]) => bytes));
    const now = rows.map(() => new Map());
    for (const changes of step.changes) for (const [layer, category, bytes] of changes) {
      now[layer].set(category, bytes);
      widest = Math.max(widest, [...now[layer].values()].reduce((a, b) => a + b, 0));
    }
    step.peak_layers.forEach(([, bytes], i) => { rows[i].said.textContent = size(bytes); svg("rect", { width: (bytes / widest) * 300, height: 14, class: "pp-peak" }, rows[i].picture); });
  }

  function alive() {
    if (!step.layers.length) return;
    const now = rows.map(() => info.categories.map(() => 0));
    for (const changes of step.changes.slice(0, at + 1)) for (const [layer, category, bytes] of changes) now[layer][category] = bytes;
    rows.forEach(({ row, picture, said }, i) => {
      const total = now[i].reduce((a, b) => a + b, 0);
      let x = 0;
      picture.replaceChildren();
      now[i].forEach((bytes, c) => {
        const width = (bytes / widest) * 300;
        if (width > 0) svg("rect", { x: x.toFixed(2), width: width.toFixed(2), height: 14, fill: fills[c] }, picture);
        x += width;
      });
      const parts = info.categories.map((name, c) => [name, now[i][c]]).filter(([, bytes]) => bytes > 0);
      row.classList.toggle("pp-same", !total);
      said.textContent = total ? `${size(total)}: ${parts.map(([name, bytes]) => (parts.length > 1 ? `${name} ${size(bytes)}` : name)).join(", ")}` : "nothing";
    });
    unplaced.textContent = at === step.peak_index && step.unplaced ? `The peak is ${size(step.unplaced)} above what any event explains; that is counted as workspace and belongs to no layer.` : "";
  }

  function point() {
    cursor.setAttribute("x1", X(at));
    cursor.setAttribute("x2", X(at));
    const values = info.categories.map((name) => step.live[name][at]);
    const total = values.reduce((a, b) => a + b, 0);
    items.forEach((item, i) => { item.textContent = size(values[i]); });
    const room = info.budget ? (total <= info.budget ? `, ${size(info.budget - total)} below the budget` : `, ${size(total - info.budget)} over the budget`) : "";
    sentence.textContent = at === step.peak_index ? `${step.peak_sentence} (${step.source})`
      : `Event ${step.events[at]}, ${step.phases[at]}: ${step.places[step.where[at]]}; ${size(total)} live${room}. (${step.source})`;
    alive();
    slider.value = at;
    slider.setAttribute("aria-valuetext", `event ${step.events[at]}, ${step.phases[at]}, ${size(total)} live`);
  }

  function choose(index) {
    step = info.steps[index];
    at = step.peak_index;
    slider.max = step.events.length - 1;
    stack();
    point();
  }

  select.addEventListener("change", () => choose(+select.value));
  slider.addEventListener("input", () => { at = +slider.value; point(); });
  peak.addEventListener("click", () => { at = step.peak_index; point(); });
  root.addEventListener("pointerdown", (event) => {
    const box = root.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * W;
    at = Math.min(step.events.length - 1, Math.max(0, Math.round(((x - L) / (W - L - R)) * (step.events.length - 1))));
    point();
  });
  choose(0);
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
