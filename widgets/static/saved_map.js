// What is kept for backward, by layer and kind, as the reader sets what trains, is recomputed, is packed.
// Draws model.get("info"); imports nothing. Every combination was traced before, so a toggle is a look-up.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 900, NAME = 214, ROW = 22, TOP = 6, BESIDE = 26, END = 90;
// A second sign beside the colour: none, upright, crossed, rising, falling, level, dots.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8", "M3,4h2"];
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

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < 4) { bytes /= 1024; i++; }
  return `${i === 0 ? Math.round(bytes) : bytes.toFixed(bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2)} ${units[i]}`;
}

function work(count) {
  const units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"];
  let i = 0;
  while (count >= 1000 && i < 5) { count /= 1000; i++; }
  return `${i === 0 ? count : count.toPrecision(3)} ${units[i]}`;
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

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

// Black lines vanish on a dark shade.
const dark = (colour) => [1, 3, 5].reduce((all, i) => all + parseInt(colour.slice(i, i + 2), 16), 0) < 260;

function textures(parent, colours, id) {
  const defs = svg("defs", {}, svg("svg", { width: 0, height: 0, class: "pp-defs", "aria-hidden": "true" }, parent));
  return colours.map((colour, i) => {
    const pattern = svg("pattern", { id: `${id}-${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, defs);
    svg("rect", { width: 8, height: 8, fill: colour }, pattern);
    if (TEXTURES[i % 7]) svg("path", { d: TEXTURES[i % 7], class: dark(colour) ? "pp-texture pp-pale" : "pp-texture" }, pattern);
    return `url(#${id}-${i})`;
  });
}

function legend(parent, names, fills, edge = "pp-area") {
  const list = html("ul", { className: "pp-legend" }, parent);
  return names.map((name, i) => {
    const item = html("li", {}, list);
    svg("rect", { x: 0.5, y: 0.5, width: 15, height: 15, fill: fills[i], class: edge }, svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, item));
    html("span", { textContent: name }, item);
    return html("strong", {}, item);
  });
}

// A stack of widths from the left; returns where it ends.
function stack(parent, values, fills, unit, at, edge = "pp-area") {
  let x = at.x;
  values.forEach((value, i) => {
    const width = value / unit;
    if (width > 0.05) svg("rect", { x: x.toFixed(2), y: at.y, width: width.toFixed(2), height: at.height, fill: fills[i], class: edge }, parent);
    x += width;
  });
  return x;
}

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.states.some((s) => !s.reason)) { html("p", { textContent: "No combination can be traced." }, el); return; }
  const id = `pp-saved-map-${++serial}`;
  const kept = (state) => state.splits.map((i) => info.splits[i]);
  const total = (state) => sum(kept(state).map(sum));
  const possible = info.states.filter((s) => !s.reason);
  const widest = Math.max(1, ...possible.flatMap((s) => kept(s).map(sum)));
  const highest = Math.max(1, ...possible.map((s) => sum(s.beside) + total(s)));
  const before = chosen.get(model);
  const same = before?.length === info.toggles.length && before.every((o, i) => o < info.toggles[i].options.length);
  const choice = same ? before : info.toggles.map(() => 0);
  chosen.set(model, choice);
  let row = -1;

  const bar = html("div", { className: "pp-controls" }, el);
  info.toggles.forEach((toggle, t) => {
    const group = html("fieldset", { className: "pp-choice" }, bar);
    html("legend", { textContent: toggle.title }, group);
    toggle.options.forEach((option, o) => {
      const label = html("label", {}, group);
      const input = html("input", { type: "radio", name: `${id}-${t}`, value: o, checked: o === choice[t] }, label);
      html("span", { textContent: option.label }, label);
      input.addEventListener("change", () => { choice[t] = o; row = -1; paint(); });
    });
  });
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("role", "status");
  const why = html("p", { className: "pp-why" }, el);
  why.setAttribute("role", "alert");
  const picture = html("div", {}, el);
  const all = html("p", {}, picture);
  const place = html("div", {}, picture);
  const besideFills = textures(el, info.beside.map((b) => b[1]), `${id}-b`);
  const besideSizes = legend(picture, info.beside.map((b) => b[0]), besideFills);
  html("p", { textContent: "Kept for backward, by layer and, in shades of its colour, by the operator that made it. Dot: the layer gets a gradient. Dashed: where the toggles begin." }, picture);
  const map = html("div", { className: "pp-scroll pp-wide" }, picture);
  const fills = textures(el, info.colours, `${id}-k`);
  const sizes = legend(picture, info.kinds, fills, "pp-area pp-edged");
  const tail = html("div", { className: "pp-controls" }, el);
  const button = (name, around, part) => {
    const made = html("button", { type: "button", textContent: name, hidden: !around[0] && !around[1] }, tail);
    const words = () => info.toggles.map((t, i) => t.options[choice[i]][part]);
    // The way of tuning stands inside the call; what it is given follows it on the command line.
    made.addEventListener("click", () => {
      const [way, ...levers] = words();
      copy(part === "command" ? around[0] + way + around[1] + levers.join("") : around[0] + way + levers.join("") + around[1], made, name);
    });
    return made;
  };
  button("Copy as command", info.command, "command");
  button("Copy as Python", info.python, "python");

  const current = () => info.states[choice.reduce((at, option, t) => at * info.toggles[t].options.length + option, 0)];
  const named = () => info.toggles.map((t, i) => (i === 0 ? t.options[choice[0]].label : choice[i] ? `${t.title.toLowerCase()}: ${t.options[choice[i]].label}` : "")).filter(Boolean).join(", ");

  function speak(state) {
    if (row >= 0) {
      const split = kept(state)[row];
      const parts = info.kinds.map((k, i) => [k, split[i]]).filter((p) => p[1]).sort((a, b) => b[1] - a[1]).map(([k, v]) => `${k} ${size(v)}`);
      said.textContent = `${info.layers[row]}: ${sum(split) ? `${size(sum(split))} kept (${parts.join(", ")})` : "keeps nothing"}; ${state.trains.includes(row) ? "it gets a gradient" : "nothing in it trains"}.`;
      return;
    }
    const first = info.states[0], most = total(first), flops = first.flops;
    const against = first.reason || state === first ? "" : `, ${most ? ((100 * total(state)) / most).toFixed(total(state) < most / 100 ? 2 : 0) : 0} % of where the toggles begin`;
    const more = !first.reason && flops && state !== first ? ` (${(state.flops / flops).toFixed(2)} x)` : "";
    const layers = kept(state).filter((s) => sum(s) > 0).length;
    const beside = info.beside.slice(0, 3).map(([name], i) => `${name} ${size(state.beside[i])}`).join(", ");
    said.textContent = `${named()}: ${size(total(state))} kept for backward in ${layers} of ${info.layers.length} layers${against}. Beside it: ${beside}. The step takes ${work(state.flops)}${more}. Predicted.`;
  }

  function paint() {
    const state = current();
    why.hidden = !state.reason;
    picture.hidden = tail.hidden = Boolean(state.reason);
    why.textContent = state.reason ? `${named()}: not possible, as ${state.reason}` : "";
    said.hidden = Boolean(state.reason);
    if (state.reason) { said.textContent = ""; return; }
    const strip = svg("svg", { viewBox: `0 0 ${WIDTH} ${BESIDE}`, role: "img" });
    const held = [...state.beside, total(state)];
    strip.setAttribute("aria-label", info.beside.map(([name], i) => `${name} ${size(held[i])}`).join(", "));
    stack(strip, held, besideFills, highest / WIDTH, { x: 0, y: 2, height: BESIDE - 6 });
    all.textContent = `Held are ${info.beside.map(([name]) => name).join(", ")}, each at its own highest moment: ${size(sum(held))} together. Inputs and workspace are left out and the moments differ, so this is not the peak.`;
    besideSizes.forEach((node, i) => { node.textContent = size(held[i]); });
    place.replaceChildren(strip);
    rows(state);
    sizes.forEach((node, i) => { node.textContent = size(sum(kept(state).map((s) => s[i]))); });
    speak(state);
  }

  function rows(state) {
    const height = TOP * 2 + info.layers.length * ROW, unit = widest / (WIDTH - NAME - END);
    const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "application", tabindex: 0 });
    root.setAttribute("aria-label", `Bytes kept for backward by layer; ${info.layers.length} layers, arrow keys move through them`);
    const first = info.states[0];
    info.layers.forEach((layer, i) => {
      const y = TOP + i * ROW, split = kept(state)[i], bytes = sum(split);
      const name = svg("text", { x: NAME - 18, y: y + 15, "text-anchor": "end" }, root, layer.length > 26 ? `…${layer.slice(-25)}` : layer);
      svg("title", {}, name, layer);
      if (state.trains.includes(i)) svg("circle", { cx: NAME - 9, cy: y + 10, r: 3.4, fill: "currentColor" }, root);
      const x = stack(root, split, fills, unit, { x: NAME, y: y + 2, height: ROW - 5 }, "pp-area pp-edged");
      const begin = first.reason ? 0 : sum(info.splits[first.splits[i]]) / unit;
      if (begin > 1) svg("rect", { class: "pp-reference", x: NAME, y: y + 2, width: begin.toFixed(2), height: ROW - 5 }, root);
      svg("text", { x: Math.max(x, NAME + begin) + 6, y: y + 15 }, root, bytes ? size(bytes) : "0");
    });
    const cursor = svg("rect", { class: "pp-cell", x: 1, width: WIDTH - 2, height: ROW, visibility: row < 0 ? "hidden" : "visible", y: TOP + row * ROW - 1 }, root);
    const point = (to) => {
      row = Math.max(0, Math.min(info.layers.length - 1, to));
      cursor.setAttribute("visibility", "visible");
      cursor.setAttribute("y", TOP + row * ROW - 1);
      speak(state);
    };
    root.addEventListener("pointerdown", (event) => {
      const box = root.getBoundingClientRect();
      point(Math.floor((((event.clientY - box.top) / box.height) * height - TOP) / ROW));
    });
    root.addEventListener("keydown", (event) => {
      const to = { ArrowUp: row - 1, ArrowDown: row + 1, Home: 0, End: info.layers.length }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      point(to);
    });
    map.replaceChildren(root);
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
