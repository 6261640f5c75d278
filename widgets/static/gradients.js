// Gradient norm or update of each layer at each step. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 900, LEFT = 210, ROW = 22, TOP = 8, BOTTOM = 34;

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

// Viridis in eight steps: even in lightness, so it reads in grey and for every kind of colour vision.
const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const COSINE = "cosine to the true gradient";
const QUANTITIES = [["gradient norm", (m) => m.norms], ["update over weights", (m) => m.updates], [COSINE, (m) => m.cosines]];
// From opposite over square to along: orange is away from the gradient, blue along it, grey neither.
const ANGLES = ["#a13d00", "#d55e00", "#eda36b", "#b9b9b9", "#b9b9b9", "#7fb4da", "#2b86c5", "#00538a"];
const kept = new WeakMap();
let serial = Math.floor(Math.random() * 1e9); // every panel of a notebook may load a module of its own: no name may come twice

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function told(v) {
  if (v == null) return "not recorded";
  const size = Math.abs(v);
  if (size === 0 || (size >= 1e-3 && size < 1e4)) return `${+v.toPrecision(3)}`;
  const [digits, power] = v.toExponential(2).split("e");
  return `${digits}·10${power.replace("+", "").replace("-", "⁻").replace(/\d/g, (d) => RAISED[d])}`;
}

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.maps.length || !info.layers.length) { html("p", { textContent: "No run recorded gradient norms by layer." }, el); return; }
  const quantities = QUANTITIES.filter(([, of]) => info.maps.some((m) => of(m).some((row) => row.some((v) => v != null))));
  const choice = kept.get(model) ?? { map: 0, quantity: 0, row: 0, column: 0 };
  kept.set(model, choice);
  choice.map = Math.min(choice.map, info.maps.length - 1);
  choice.quantity = Math.min(choice.quantity, quantities.length - 1);

  const bar = html("div", { className: "pp-controls" }, el);
  const select = (text, names, key) => {
    const box = html("select", {}, html("label", { textContent: `${text} ` }, bar));
    names.forEach((name, i) => html("option", { value: i, textContent: name, selected: i === choice[key] }, box));
    box.addEventListener("change", () => { choice[key] = +box.value; paint(); });
  };
  select("Method", info.maps.map((m) => m.label), "map");
  select("Show", quantities.map(([name]) => name), "quantity");
  const place = html("div", { className: "pp-scroll pp-wide" }, el);
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("aria-live", "polite");
  const id = `pp-frozen-${++serial}`;

  function paint() {
    const m = info.maps[choice.map], [name, of] = quantities[choice.quantity], grid = of(m);
    // One scale for all methods, so that a colour means the same in each of them. Cosines are small where there are many
    // numbers, so their scale ends at the largest that was found; zero is its middle.
    const signed = name === COSINE, all = info.maps.flatMap((x) => of(x).flat()).filter((v) => v != null && (signed || v > 0));
    const shades = signed ? ANGLES : SCALE, far = Math.max(...all.map(Math.abs)) || 1;
    const low = signed ? -far : Math.log(Math.min(...all)), high = signed ? far : Math.log(Math.max(...all));
    const colour = (v) => shades[Math.max(0, Math.min(shades.length - 1, Math.floor((((signed ? v : Math.log(v)) - low) / (high - low || 1)) * shades.length)))];
    const height = TOP + info.layers.length * ROW + BOTTOM, cell = (WIDTH - LEFT - 4) / Math.max(1, m.steps.length);
    const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "application", tabindex: 0 });
    root.setAttribute("aria-label", `${name} of ${m.label}, layers by steps; arrow keys move through the cells`);
    const pattern = svg("pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse" }, svg("defs", {}, root));
    svg("path", { d: "M0,7L7,0", stroke: "currentColor", "stroke-opacity": 0.5 }, pattern);
    info.layers.forEach((layer, i) => {
      const y = TOP + i * ROW;
      svg("text", { x: LEFT - 8, y: y + 15, "text-anchor": "end" }, root, layer.length > 27 ? `…${layer.slice(-26)}` : layer);
      if (m.frozen[i]) {
        svg("rect", { x: LEFT, y: y + 1, width: WIDTH - LEFT - 4, height: ROW - 2, fill: `url(#${id})` }, root);
        svg("text", { x: LEFT + 8, y: y + 15, class: "pp-strong pp-on-hatch" }, root, "frozen");
        return;
      }
      grid[i]?.forEach((v, j) => { if (signed ? v != null : v > 0) svg("rect", { x: LEFT + j * cell, y: y + 1, width: Math.max(0.5, cell - 0.5), height: ROW - 2, fill: colour(v) }, root); });
    });
    const marks = [...new Set([0, Math.floor(m.steps.length / 2), m.steps.length - 1])].filter((j) => j >= 0);
    for (const j of marks) svg("text", { x: LEFT + (j + 0.5) * cell, y: height - 14, "text-anchor": j === 0 ? "start" : j === m.steps.length - 1 ? "end" : "middle" }, root, `step ${m.steps[j]}`);
    const cursor = svg("rect", { class: "pp-cell", width: Math.max(3, cell), height: ROW }, root);

    function point(announce = true) {
      choice.row = Math.max(0, Math.min(info.layers.length - 1, choice.row));
      choice.column = Math.max(0, Math.min(m.steps.length - 1, choice.column));
      cursor.setAttribute("x", LEFT + choice.column * cell);
      cursor.setAttribute("y", TOP + choice.row * ROW);
      const layer = info.layers[choice.row];
      const value = m.frozen[choice.row] ? "frozen: no gradient is computed for it" : signed && m.no_cosine ? `${name}: ${m.no_cosine}` : `${name} ${told(grid[choice.row]?.[choice.column])}${signed && m.together[choice.column] != null ? `, all layers together ${told(m.together[choice.column])}` : ""}`;
      if (announce) said.textContent = `${m.label}, ${layer}, step ${m.steps[choice.column]}: ${value}.`;
    }

    const at = (event) => {
      const box = root.getBoundingClientRect(), scale = WIDTH / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      if (x < LEFT || y < TOP) return;
      choice.column = Math.floor((x - LEFT) / cell);
      choice.row = Math.floor((y - TOP) / ROW);
      point();
    };
    root.addEventListener("pointermove", at);
    root.addEventListener("pointerdown", at);
    root.addEventListener("keydown", (event) => {
      const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-1e9, 0], End: [1e9, 0] }[event.key] ?? [];
      if (dx === undefined) return;
      event.preventDefault();
      choice.column += dx;
      choice.row += dy;
      point();
    });
    const legend = html("p", { className: "pp-scale" });
    html("span", { textContent: `${name}: ${signed ? low.toFixed(3) : told(Math.exp(low))} ` }, legend);
    for (const c of shades) { const box = html("span", { className: "pp-swatch" }, legend); box.style.background = c; }
    html("span", { textContent: signed ? ` ${high.toFixed(3)}, linear, 1 is along the gradient and 0 square to it; at the steps where it was asked for` : ` ${told(Math.exp(high))}, logarithmic, one scale for all methods` }, legend);
    place.replaceChildren(root, legend);
    point(false);
    const trained = m.frozen.filter((f) => !f).length;
    said.textContent = `${m.label} trains in ${trained} of ${info.layers.length} layers.${signed && m.no_cosine ? ` No cosine: ${m.no_cosine}.` : ""} Point at a cell, or move with the arrow keys.`;
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
