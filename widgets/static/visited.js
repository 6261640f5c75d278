// What each way of tuning does in each layer, forward and backward. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 860, ROW = 20, NAME = 230, MIDDLE = 420;

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

function scaled(value, units, base) {
  let i = 0;
  while (value >= base && i < units.length - 1) { value /= base; i++; }
  return `${i === 0 ? Math.round(value) : value.toPrecision(3)} ${units[i]}`.trim();
}

const size = (v) => scaled(v, ["B", "KiB", "MiB", "GiB", "TiB"], 1024);
const flops = (v) => scaled(v, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"], 1000);
const count = (v) => `${v}`;

// key: title, the numbers left and right of the axis, how one is printed.
const QUANTITIES = {
  operations: [(w) => w.forward_flops, (w) => w.backward_flops, flops],
  "operator calls": [(w) => w.forward_calls, (w) => w.backward_calls, count],
  "bytes kept for backward": [(w) => w.saved.map(() => 0), (w) => w.saved, size],
};
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
let serial = Math.floor(Math.random() * 1e9); // every panel of a notebook may load a module of its own: no name may come twice

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.ways.length) { html("p", { textContent: "No way of tuning was given." }, el); return; }
  let way = Math.min(1, info.ways.length - 1), quantity = "operations";

  const bar = html("div", { className: "pp-controls" }, el);
  const choose = (text, names, change) => {
    const select = html("select", {}, html("label", { textContent: text }, bar));
    names.forEach((name, i) => html("option", { value: i, textContent: name }, select));
    select.addEventListener("change", () => { change(+select.value); paint(); });
    return select;
  };
  choose("Way of tuning ", info.ways.map((w) => w.label), (i) => { way = i; }).value = way;
  choose("Show ", Object.keys(QUANTITIES), (i) => { quantity = Object.keys(QUANTITIES)[i]; });
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("aria-live", "polite");
  const frame = html("div", { className: "pp-scroll pp-wide", tabIndex: 0 }, el);
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", info.title);
  const id = `pp-visited-${++serial}`;

  function paint() {
    const [left, right, print] = QUANTITIES[quantity];
    // One scale for both sides, so that twice the work is twice the length.
    const unit = Math.max(...[[left, MIDDLE - NAME - 10], [right, WIDTH - MIDDLE - 4]].map(([of, room]) => Math.max(1, ...info.ways.flatMap(of)) / room));
    const w = info.ways[way], before = left(w), after = right(w), height = info.layers.length * ROW + 8;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img" });
    const pattern = svg("pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, svg("defs", {}, picture));
    svg("rect", { width: 6, height: 6, fill: "#D55E00" }, pattern);
    svg("path", { d: "M0,6L6,0", class: "pp-texture" }, pattern);
    info.layers.forEach((layer, i) => {
      const y = i * ROW + 4, dim = after[i] === 0;
      const row = svg("g", {}, picture), opacity = dim ? 0.55 : 1;
      const name = svg("text", { x: NAME - 14, y: y + 12, "text-anchor": "end" }, row);
      name.textContent = layer.length > 28 ? `…${layer.slice(-27)}` : layer;
      if (w.trained[i] > 0) svg("circle", { cx: NAME - 6, cy: y + 8, r: 3.2, fill: "#0072B2" }, row);
      const back = before[i] / unit, ahead = after[i] / unit;
      svg("rect", { x: MIDDLE - back, y, width: back, height: ROW - 4, fill: "#7D8590", opacity }, row);
      svg("rect", { x: MIDDLE, y, width: ahead, height: ROW - 4, fill: `url(#${id})` }, row);
      const tip = svg("title", {}, row);
      tip.textContent = `${layer}: forward ${print(before[i])}, backward ${print(after[i])}, ${(w.trained[i] * 100).toFixed(1)} % of its parameters train`;
    });
    svg("line", { class: "pp-axis", x1: MIDDLE, x2: MIDDLE, y1: 0, y2: height }, picture);
    const idle = after.filter((v) => v === 0).length;
    const forward = sum(before) ? `${print(sum(before))} forward, ` : "";
    said.textContent = `${w.label}: ${forward}${print(sum(after))} ${sum(before) ? "backward" : "kept"}; the backward pass leaves ${idle} of ${info.layers.length} layers out of this. Grey: forward. Striped: backward. Dot: something trains here.`;
    picture.setAttribute("aria-label", said.textContent);
    frame.replaceChildren(picture);
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
