// Score against peak memory with a budget that the reader moves. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const MAX_NAMES = 16; // with more points only those on the front carry their name
const W = 900, H = 446, L = 64, R = 24, T = 50, B = 62;

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

const score = (v, share) => (share ? `${(v * 100).toFixed(1)} %` : `${+v.toPrecision(4)}`);

function sizeTicks(low, high, log) {
  const ticks = [];
  if (log) {
    const first = Math.ceil(Math.log2(low)), last = Math.floor(Math.log2(high));
    const step = Math.max(1, Math.ceil((last - first + 1) / 7));
    for (let e = first; e <= last; e++) if (e % step === 0) ticks.push(2 ** e);
    return ticks;
  }
  const unit = 1024 ** Math.floor(Math.log(high) / Math.log(1024));
  const rough = high / unit / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) * unit;
  for (let t = 0; t <= high; t += step) if (t >= low) ticks.push(t);
  return ticks;
}

function scoreTicks(low, high) {
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push(i * step);
  return ticks;
}

const SHAPES = {
  circle: "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0Z", square: "M-5.5,-5.5H5.5V5.5H-5.5Z",
  triangle: "M0,-7L6.5,5.5H-6.5Z", diamond: "M0,-7.5L6,0L0,7.5L-6,0Z",
  cross: "M-6,-3L-3,-6L0,-3L3,-6L6,-3L3,0L6,3L3,6L0,3L-3,6L-6,3L-3,0Z",
  plus: "M-2.5,-7H2.5V-2.5H7V2.5H2.5V7H-2.5V2.5H-7V-2.5H-2.5Z", down: "M0,7L6.5,-5.5H-6.5Z",
  pentagon: "M0,-7L6.7,-2.2L4.1,5.7H-4.1L-6.7,-2.2Z",
};

function overlap(a, b) {
  return Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
}

function place(anchors, widths, obstacles) {
  const marks = anchors.map(([x, y]) => [x - 8, y - 8, x + 8, y + 8]);
  const placed = [];
  anchors.forEach(([x, y], i) => {
    const w = widths[i], h = 16;
    let best = null, least = Infinity;
    for (let ring = 0; ring < 4 && least > 0; ring++) {
      const g = 11 * (1 + 1.5 * ring), d = g * 0.7;
      for (const [l, t] of [[x + g, y - h / 2], [x - g - w, y - h / 2], [x - w / 2, y - g - h], [x - w / 2, y + g],
        [x + d, y - d - h], [x + d, y + d], [x - d - w, y - d - h], [x - d - w, y + d]]) {
        const box = [l, t, l + w, t + h];
        let cost = 0;
        for (const other of [...placed, ...marks, ...obstacles]) cost += overlap(box, other);
        cost += 4 * (w * h - overlap(box, [L, T, W - 2, H - B]));
        if (cost < least - 1e-9) { best = box; least = cost; }
      }
    }
    placed.push(best);
  });
  return placed;
}

function limits(info, points) {
  const sizes = points.map((p) => p.peak).concat(info.budget ? [info.budget] : []);
  const low = Math.max(1, Math.min(...sizes)), high = Math.max(...sizes);
  const x = high / low > 2.2 ? [low / 1.6, high * 1.9] : [low * 0.8, high * 1.25];
  const values = points.flatMap((p) => [p.score, p.low, p.high, ...p.seeds.map((s) => s.score)]).filter((v) => v != null);
  const bottom = values.length ? Math.min(...values) : 0, top = values.length ? Math.max(...values) : 1;
  const span = top - bottom || Math.abs(top) * 0.1 || 0.1;
  const rail = points.some((p) => p.score == null);
  const y = [bottom - span * 0.12, top + span * 0.12];
  // A share: nothing lies outside of 0 and 1.
  if (info.share) { y[0] = Math.max(y[0], -0.02 * span); y[1] = Math.min(y[1], 1 + 0.04 * span); }
  return { x, log: x[1] / x[0] > 6, y, rail };
}

// Of the points that keep the budget those that none beats in both; a peak that was only predicted beats nobody.
function unbeaten(points, info) {
  const better = info.lower_is_better ? (a, b) => a < b : (a, b) => a > b, found = [];
  for (const p of points.filter((q) => q.peak_kind === "measured").sort((a, b) => a.peak - b.peak || (better(a.score, b.score) ? -1 : 1))) {
    if (!found.length || better(p.score, found[found.length - 1].score)) found.push(p);
  }
  return found;
}

function describe(p, info, budget) {
  const shown = (v) => score(v, info.share);
  const said = p.score == null ? `${p.state}${p.reason ? `: ${p.reason}` : ""}` : `${shown(p.score)} ${info.metric}` +
    (p.low == null ? "" : ` (${shown(p.low)} to ${shown(p.high)}, ${p.interval === "seeds" ? `95 % over ${p.seeds.length} seeds` : "95 % over test examples"})`);
  const room = budget == null ? "" : p.peak <= budget ? `; fits with ${size(budget - p.peak)} to spare` : `; ${size(p.peak - budget)} over the budget`;
  return `${p.label}${p.reference ? " (reference, run without the budget)" : ""}: ${said}; peak ${size(p.peak)} ${p.peak_kind}${room}`;
}

function draw({ model, el }) {
  const info = model.get("info");
  const points = info.points.filter((p) => p.peak != null);
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!points.length) { html("p", { textContent: "No run has a known peak." }, el); return undefined; }
  const { x: [x0, x1], log, y: [y0, y1], rail } = limits(info, points);
  const f = log ? Math.log : (v) => v;
  const X = (v) => L + ((f(v) - f(x0)) / (f(x1) - f(x0))) * (W - L - R);
  const floor = H - B - (rail ? 40 : 0);
  const Y = (v) => floor - ((v - y0) / (y1 - y0)) * (floor - T);
  const railY = H - B - 16;
  const at = (p) => [X(p.peak), p.score == null ? railY : Y(p.score)];

  const bar = html("div", { className: "pp-controls" }, el);
  const label = html("label", { textContent: "Budget " }, bar);
  const slider = html("input", { type: "range", min: 0, max: 400, step: 1 }, label);
  const shown = html("output", {}, label);
  const reset = html("button", { type: "button", textContent: "Reset" }, bar);
  const verdict = html("span", { className: "pp-verdict" }, bar);
  verdict.setAttribute("aria-live", "polite");
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": info.alt }, el);
  const detail = html("p", { className: "pp-detail", textContent: "Point at a method, or move through them with the arrow keys." }, el);
  detail.setAttribute("aria-live", "polite");

  const toBytes = (s) => Math.round(Math.exp(Math.log(x0) + (s / 400) * Math.log(x1 / x0)));
  const toSlider = (b) => (Math.log(b / x0) / Math.log(x1 / x0)) * 400;
  let budget = info.budget ?? null;

  const shade = svg("rect", { class: "pp-over", y: T, height: H - T - B }, root);
  for (const t of sizeTicks(x0, x1, log)) {
    svg("line", { class: "pp-tick", x1: X(t), x2: X(t), y1: H - B, y2: H - B + 4 }, root);
    svg("text", { x: X(t), y: H - B + 23, "text-anchor": "middle" }, root, size(t));
  }
  for (const t of scoreTicks(y0, y1)) {
    svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }, root);
    svg("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, root, info.share ? `${+(t * 100).toFixed(2)} %` : +t.toPrecision(4));
  }
  svg("path", { class: "pp-axis", d: `M${L},${T}V${H - B}H${W - R}` }, root);
  if (rail) svg("line", { class: "pp-rail", x1: L, x2: W - R, y1: floor + 6, y2: floor + 6 }, root);
  svg("text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, root, `peak memory of one step${log ? ", logarithmic" : ""}`);
  svg("text", { x: 8, y: 16, class: "pp-strong" }, root, `${info.metric} (${info.lower_is_better ? "lower" : "higher"} is better)`);
  const stairs = svg("path", { class: "pp-front" }, root);
  let front = [];
  const line = svg("line", { class: "pp-budget", y1: T, y2: H - B }, root);
  const name = svg("text", { class: "pp-budget-name", y: T - 8, "text-anchor": "middle" }, root);

  const marks = points.map((p) => {
    const quiet = points.length > MAX_NAMES && !p.front;
    const g = svg("g", { class: quiet ? "pp-mark pp-quiet" : "pp-mark", tabindex: -1, role: "img" }, root);
    for (const s of p.seeds) {
      if (s.score != null && p.score != null) svg("circle", { class: "pp-seed", cx: X(s.peak ?? p.peak), cy: Y(s.score), r: 2.5, fill: p.colour }, g);
    }
    if (p.low != null) svg("line", { x1: X(p.peak), x2: X(p.peak), y1: Y(p.low), y2: Y(p.high), stroke: p.colour, "stroke-width": 2 }, g);
    const [x, y] = at(p);
    svg("circle", { class: "pp-focus", cx: x, cy: y, r: 13 }, g);
    if (p.reference) svg("circle", { class: "pp-reference", cx: x, cy: y, r: 10.5 }, g);
    const shape = svg("path", { d: SHAPES[p.marker] ?? SHAPES.circle, transform: `translate(${x},${y})`, stroke: p.colour, "stroke-width": 1.8 }, g);
    const leader = svg("line", { class: "pp-leader" }, g);
    const text = svg("text", {}, g);
    const show = () => { detail.textContent = describe(p, info, budget); };
    g.addEventListener("pointerenter", show);
    g.addEventListener("focus", show);
    return { p, g, shape, text, leader };
  });
  marks[0].g.setAttribute("tabindex", 0);

  function labels() {
    const widths = marks.map(({ text }) => text.getComputedTextLength() || text.textContent.length * 7.5);
    const obstacles = points.filter((p) => p.low != null).map((p) => [X(p.peak) - 3, Y(p.high), X(p.peak) + 3, Y(p.low)]);
    front.slice(1).forEach((p, i) => {
      const [x, y] = at(front[i]), [x2, y2] = at(p);
      obstacles.push([x, y - 2, x2, y + 2], [x2 - 2, Math.min(y, y2), x2 + 2, Math.max(y, y2)]);
    });
    if (budget != null) obstacles.push([X(budget) - 2, T, X(budget) + 2, H - B]);
    // Names that are always shown come first and get the free places.
    const order = marks.map((m, i) => i).sort((i, j) => marks[i].g.classList.contains("pp-quiet") - marks[j].g.classList.contains("pp-quiet"));
    place(order.map((i) => at(points[i])), order.map((i) => widths[i]), obstacles).forEach((box, n) => {
      const { text, leader } = marks[order[n]], [x, y] = at(points[order[n]]);
      text.setAttribute("x", box[0]);
      text.setAttribute("y", box[1] + 12);
      // A name that found no place beside its mark is tied to it.
      const [tx, ty] = [Math.min(box[2], Math.max(box[0], x)), Math.min(box[3], Math.max(box[1], y))];
      leader.setAttribute("visibility", Math.hypot(tx - x, ty - y) > 18 ? "visible" : "hidden");
      for (const [key, value] of [["x1", x], ["y1", y], ["x2", tx], ["y2", ty]]) leader.setAttribute(key, value);
    });
  }

  function redraw() {
    for (const node of [shade, line, name]) node.setAttribute("visibility", budget == null ? "hidden" : "visible");
    const x = Math.min(W - R, Math.max(L, X(budget ?? x1)));
    shade.setAttribute("x", x);
    shade.setAttribute("width", W - R - x);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    name.setAttribute("x", Math.min(W - 80, Math.max(L + 50, x)));
    name.textContent = budget == null ? "" : `budget ${size(budget)}`;
    shown.textContent = budget == null ? "none" : size(budget);
    slider.value = toSlider(budget ?? x1);
    slider.setAttribute("aria-valuetext", shown.textContent);
    for (const { p, g, shape, text } of marks) {
      const fits = budget == null || p.peak <= budget;
      const state = p.score != null ? "" : `: ${fits && info.budget != null && p.peak > info.budget ? "not run" : p.state}`;
      text.textContent = p.label + state + (p.peak_kind === "measured" ? "" : " (predicted)") + (p.reference ? ": reference, no budget" : "");
      shape.setAttribute("fill", fits && p.score != null ? p.colour : "none");
      g.setAttribute("aria-label", describe(p, info, budget));
    }
    const fitting = points.filter((p) => budget == null || p.peak <= budget);
    const scored = fitting.filter((p) => p.score != null).sort((a, b) => (info.lower_is_better ? a.score - b.score : b.score - a.score));
    verdict.textContent = `${fitting.length} of ${points.length} fit` + (scored.length ? `; best mean: ${scored[0].label}, ${score(scored[0].score, info.share)}` : "; none with a score");
    front = unbeaten(scored, info);
    stairs.setAttribute("d", front.map((p, i) => (i ? `H${X(p.peak)}V${Y(p.score)}` : `M${X(p.peak)},${Y(p.score)}`)).join(""));
    labels();
  }

  slider.addEventListener("input", () => { budget = toBytes(+slider.value); redraw(); });
  reset.addEventListener("click", () => { budget = info.budget ?? null; redraw(); });
  const order = [...marks].sort((a, b) => a.p.peak - b.p.peak);
  root.addEventListener("keydown", (event) => {
    const here = order.findIndex(({ g }) => g === document.activeElement);
    const next = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: order.length - 1 }[event.key];
    if (here < 0 || next === undefined || !order[next]) return;
    event.preventDefault();
    for (const { g } of marks) g.setAttribute("tabindex", -1);
    order[next].g.setAttribute("tabindex", 0);
    order[next].g.focus();
  });
  redraw();
  const frame = requestAnimationFrame(labels);
  return () => { cancelAnimationFrame(frame); el.replaceChildren(); };
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
