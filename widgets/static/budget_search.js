// What a search picks to train within a budget that the reader sets, and what it cost.
// Draws model.get("info"); imports nothing. Every budget was searched before, so the slider is a look-up.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 900, NAME = 300, WORTH = 250, COST = 620, ROW = 20, TOP = 26, CHART = 190;
const DASHES = ["", "9 4", "2 4"];
const chosen = new WeakMap();
let serial = Math.floor(Math.random() * 1e9); // every panel of a notebook may load a module of its own: no name may come twice

function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

function svg(tag, attributes, parent, text) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

function amount(value, unit) {
  const bytes = unit === "bytes", step = bytes ? 1024 : 1000;
  const units = bytes ? ["B", "KiB", "MiB", "GiB", "TiB"] : ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"];
  let i = 0;
  while (value >= step && i < units.length - 1) { value /= step; i++; }
  const digits = bytes ? (value >= 100 ? 0 : value >= 10 ? 1 : 2) : 0;
  return `${i === 0 ? Math.round(value) : bytes ? value.toFixed(digits) : value.toPrecision(3)} ${units[i]}`;
}

const percent = (share) => share > 0 && share < 0.001 ? "< 0.1 %" : `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

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

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.searches.length) { html("p", { textContent: "No search was given." }, el); return; }
  const id = `pp-budget-search-${++serial}`;
  const before = chosen.get(model) ?? { search: 0, places: [] };
  const now = { search: Math.min(before.search, info.searches.length - 1), places: info.searches.map((s, i) => Math.min(before.places[i] ?? Math.floor(s.picks.length / 2), s.picks.length - 1)) };
  chosen.set(model, now);
  let row = -1;
  const view = () => info.searches[now.search];
  const pick = () => view().picks[now.places[now.search]];

  const bar = html("div", { className: "pp-controls" }, el);
  if (info.searches.length > 1) {
    const group = html("fieldset", { className: "pp-choice" }, bar);
    html("legend", { textContent: "The budget is in" }, group);
    info.searches.forEach((one, i) => {
      const label = html("label", {}, group);
      const input = html("input", { type: "radio", name: id, checked: i === now.search }, label);
      html("span", { textContent: one.what }, label);
      input.addEventListener("change", () => { now.search = i; row = -1; paint(); });
    });
  }
  const label = html("label", {}, bar);
  html("span", { textContent: "Budget" }, label);
  const slider = html("input", { type: "range", min: 0, step: 1 }, label);
  const reading = html("strong", { className: "pp-reading" }, label);
  slider.addEventListener("input", () => { now.places[now.search] = Number(slider.value); paint(); });
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("role", "status");
  const list = html("ul", { className: "pp-legend" }, el);
  info.names.forEach((name, i) => {
    const item = html("li", {}, list);
    svg("path", { d: "M0,8H24", stroke: info.colours[i], "stroke-width": 4, "stroke-dasharray": DASHES[i] }, svg("svg", { viewBox: "0 0 24 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
  });
  const chart = html("div", { className: "pp-scroll pp-wide" }, el);
  html("p", { textContent: "Filled: chosen at this budget. Outlined: frozen. Parts stand from the input to the output." }, el);
  const map = html("div", { className: "pp-scroll pp-wide pp-tall" }, el);
  const tail = html("div", { className: "pp-controls" }, el);
  const buttons = [["Copy as command", "command"], ["Copy as Python", "python"]].map(([name, part]) => {
    const made = html("button", { type: "button", textContent: name }, tail);
    made.addEventListener("click", () => copy(pick()[part], made, name));
    return [made, part];
  });

  function speak() {
    const at = pick(), one = view();
    if (row >= 0) {
      const taken = at.chosen.includes(row) ? "trains at this budget" : "is frozen at this budget";
      const first = one.picks.find((p) => p.chosen.includes(row));
      const when = first ? `first chosen at ${amount(first.budget, one.unit)}` : "chosen at none of the budgets";
      said.textContent = `${one.parts[row]}: ${percent(one.worths[row])} of the worth, ${amount(one.alone[row], one.unit)} alone; it ${taken}; ${when}.`;
      return;
    }
    const [searched, last, chance] = at.worth.map(percent);
    said.textContent = `At ${amount(at.budget, one.unit)} of ${amount(one.full, one.unit)} (${percent(at.budget / one.full)}): ${at.chosen.length} of ${one.parts.length} parts train, ${searched} of the worth for ${amount(at.cost, one.unit)}. The last ones that fit: ${last}; by chance: ${chance}. Worth: ${one.worth}.`;
  }

  function lines() {
    const one = view(), left = 60, right = 20, low = CHART - 30;
    const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${CHART}`, role: "img" });
    root.setAttribute("aria-label", `Share of the worth by budget: ${one.picks.map((p) => `${amount(p.budget, one.unit)} ${p.worth.map(percent).join(", ")}`).join("; ")}`);
    const x = (budget) => left + ((WIDTH - left - right) * budget) / one.full;
    const y = (share) => low - (low - 12) * Math.max(0, share);
    [0, 0.5, 1].forEach((share) => {
      svg("path", { class: "pp-grid", d: `M${left},${y(share)}H${WIDTH - right}` }, root);
      svg("text", { x: left - 8, y: y(share) + 5, "text-anchor": "end" }, root, percent(share));
    });
    [0, 0.25, 0.5, 0.75, 1].forEach((part) => svg("text", { x: x(part * one.full), y: CHART - 8, "text-anchor": part === 1 ? "end" : "middle" }, root, part ? amount(part * one.full, one.unit) : "0"));
    info.names.map((_, i) => i).reverse().forEach((i) => {
      const points = one.picks.map((p) => `${x(p.budget).toFixed(1)},${y(p.worth[i]).toFixed(1)}`).join(" ");
      svg("polyline", { points, fill: "none", stroke: info.colours[i], "stroke-width": 2.4, "stroke-dasharray": DASHES[i] }, root);
    });
    svg("path", { class: "pp-budget", d: `M${x(pick().budget).toFixed(1)},6V${low}` }, root);
    svg("circle", { cx: x(pick().budget).toFixed(1), cy: y(pick().worth[0]).toFixed(1), r: 5.5, fill: info.colours[0] }, root);
    chart.replaceChildren(root);
  }

  function rows() {
    const one = view(), height = TOP + one.parts.length * ROW + 6, taken = new Set(pick().chosen);
    const worth = Math.max(1e-9, ...one.worths), cost = Math.max(1, ...one.alone);
    const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "application", tabindex: 0 });
    root.setAttribute("aria-label", `Parts that can train; ${one.parts.length} of them, arrow keys move through them`);
    svg("text", { class: "pp-strong", x: NAME, y: 15 }, root, "worth");
    svg("text", { class: "pp-strong", x: COST, y: 15 }, root, "cost alone");
    one.parts.forEach((part, i) => {
      const y = TOP + i * ROW, on = taken.has(i);
      const name = svg("text", { x: NAME - 26, y: y + 14, "text-anchor": "end", class: on ? "pp-strong" : "" }, root, part.length > 30 ? `…${part.slice(-29)}` : part);
      svg("title", {}, name, part);
      svg("rect", { x: NAME - 20, y: y + 3, width: 12, height: 12, class: "pp-tick" }, root);
      if (on) svg("path", { d: `M${NAME - 18},${y + 9}l3.5,4 5,-9`, class: "pp-tick" }, root);
      const bars = [[NAME, (one.worths[i] / worth) * WORTH, percent(one.worths[i])], [COST, (one.alone[i] / cost) * (WIDTH - COST - 96), amount(one.alone[i], one.unit)]];
      bars.forEach(([x, width, words], which) => {
        const wide = Math.max(0.5, width);
        svg("rect", on ? { x, y: y + 3, width: wide.toFixed(1), height: 13, fill: info.colours[which ? 1 : 0] } : { x, y: y + 3, width: wide.toFixed(1), height: 13, class: "pp-axis", "stroke-opacity": 0.6 }, root);
        svg("text", { x: x + wide + 6, y: y + 14 }, root, words);
      });
    });
    const cursor = svg("rect", { class: "pp-cell", x: 1, width: WIDTH - 2, height: ROW, visibility: row < 0 ? "hidden" : "visible", y: TOP + row * ROW - 1 }, root);
    const point = (to) => {
      row = Math.max(0, Math.min(one.parts.length - 1, to));
      cursor.setAttribute("visibility", "visible");
      cursor.setAttribute("y", TOP + row * ROW - 1);
      cursor.scrollIntoView?.({ block: "nearest" });
      speak();
    };
    root.addEventListener("pointerdown", (event) => {
      const box = root.getBoundingClientRect();
      point(Math.floor((((event.clientY - box.top) / box.height) * height - TOP) / ROW));
    });
    root.addEventListener("keydown", (event) => {
      const to = { ArrowUp: row - 1, ArrowDown: row + 1, Home: 0, End: one.parts.length }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
    });
    map.replaceChildren(root);
  }

  function paint() {
    const one = view(), at = pick();
    slider.max = one.picks.length - 1;
    slider.value = now.places[now.search];
    slider.setAttribute("aria-valuetext", amount(at.budget, one.unit));
    reading.textContent = amount(at.budget, one.unit);
    buttons.forEach(([made, part]) => { made.hidden = !at[part]; });
    lines();
    rows();
    speak();
  }
  paint();
}

// Draw now and again whenever the data change; the returned function takes everything away.
function render({ model, el }) {
  // JupyterLab takes arrow keys for its own unless the control that has the focus says that it needs them.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  const again = () => draw({ model, el });
  draw({ model, el });
  model.on("change:info", again);
  return () => { model.off("change:info", again); el.replaceChildren(); };
}

export default { render };
