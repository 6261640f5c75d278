// Any two measures against each other, with a budget that the reader moves. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const MAX_NAMES = 16; // beyond it only the front is named
const W = 900, H = 446, L = 94, R = 24, T = 50, B = 62;

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

function scaled(value, units, base) {
  let i = 0;
  while (Math.abs(value) >= base && i < units.length - 1) { value /= base; i++; }
  return `${i === 0 ? +value.toPrecision(4) : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${units[i]}`;
}

const PRINT = {
  score: (v) => `${(v * 100).toFixed(1)} %`,
  bytes: (v) => scaled(v, ["B", "KiB", "MiB", "GiB", "TiB"], 1024),
  seconds: (v) => (v < 1 ? `${+(v * 1000).toPrecision(3)} ms` : `${+v.toPrecision(3)} s`),
  joules: (v) => (v < 1 ? `${+(v * 1000).toPrecision(3)} mJ` : `${+v.toPrecision(3)} J`),
  count: (v) => Math.round(v).toLocaleString("en").replaceAll(",", "\u202f"),
  number: (v) => `${+v.toPrecision(4)}`,
};
const size = PRINT.bytes;

function ticks({ low, high, log, unit }) {
  const found = [], base = unit === "bytes" ? 2 : 10;
  if (log) {
    const at = (v) => Math.log(v) / Math.log(base), first = Math.ceil(at(low) - 1e-9), last = Math.floor(at(high) + 1e-9);
    const between = base === 10 && last - first < 4 ? [1, 2, 5] : [1], step = Math.max(1, Math.ceil((last - first + 1) / 7));
    for (let e = first - 1; e <= last; e++) if (e % step === 0) found.push(...between.map((m) => m * base ** e));
    return found.filter((t) => t >= low && t <= high);
  }
  const whole = unit === "bytes" ? 1024 ** Math.floor(Math.log(Math.max(1, high)) / Math.log(1024)) : 1;
  const rough = (high - low) / whole / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= rough) * whole;
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
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

// What an axis spans: wide ranges of sizes, times and counts are logarithmic, scores and losses never are.
function axis(m, places, also) {
  const values = places.flatMap((v) => [v.at, v.low, v.high, ...v.seeds]).concat(also).filter((v) => v != null);
  const min = values.length ? Math.min(...values) : 0, max = values.length ? Math.max(...values) : 1;
  if (m.unit !== "score" && m.unit !== "number" && min > 0) {
    const wide = max / min > 2.2, [low, high] = wide ? [min / 1.6, max * 1.9] : [min * 0.8, max * 1.25];
    return { low, high, log: high / low > 6, unit: m.unit };
  }
  const span = max - min || Math.abs(max) * 0.1 || 0.1;
  let low = min - span * 0.12, high = max + span * 0.12;
  // Nothing lies below none of it, nor a share above all.
  if (m.unit !== "number") low = Math.max(low, -0.02 * span);
  if (m.unit === "score") high = Math.min(high, 1 + 0.04 * span);
  return { low, high, log: false, unit: m.unit };
}

// Of the points that keep the budget those that none beats in both; a peak that was only predicted beats nobody.
function unbeaten(points, across, up) {
  const before = (m, a, b) => (m.lower_is_better ? a - b : b - a), found = [];
  const sorted = points.filter((q) => q.peak_kind === "measured" && q.values[up.key] && q.values[across.key])
    .sort((a, b) => before(across, a.values[across.key].at, b.values[across.key].at) || before(up, a.values[up.key].at, b.values[up.key].at));
  for (const p of sorted) if (!found.length || before(up, p.values[up.key].at, found[found.length - 1].values[up.key].at) < 0) found.push(p);
  return found;
}

const OVER = { examples: () => "95 % over test examples", range: (n) => `lowest to highest of ${n} seeds`, seeds: (n) => `95 % over ${n} seeds` };

function told(p, m) {
  const v = p.values[m.key], show = PRINT[m.unit];
  if (!v) return `no ${m.title}`;
  const over = v.low == null ? "" : ` (${show(v.low)} to ${show(v.high)}, ${OVER[v.interval](v.seeds.filter((s) => s != null).length)})`;
  return `${m.title} ${show(v.at)} ${v.kind}${over}`;
}

function describe(p, budget, up, across) {
  const room = budget == null || p.peak == null ? "" : p.peak <= budget ? `; fits with ${size(budget - p.peak)} to spare` : `; ${size(p.peak - budget)} over the budget`;
  const state = p.state === "done" ? "" : ` ${p.state}${p.reason ? `: ${p.reason}` : ""};`;
  const beside = [up.key, across.key].includes("peak") || p.peak == null ? "" : `; peak memory ${size(p.peak)} ${p.peak_kind}`;
  return `${p.label}${p.reference ? " (reference, run without the budget)" : ""}:${state} ${told(p, up)}; ${told(p, across)}${beside}${room}` +
    (p.done < p.planned ? `; ${p.done} of ${p.planned} runs` : "");
}

const kept = new WeakMap(); // what the reader chose outlives new data

function draw({ model, el }, gone) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (info.problem) html("p", { className: "pp-why", textContent: info.problem, role: "alert" }, el);
  if (!info.points.length && !info.absent.length) { html("p", { textContent: "No run has a known peak." }, el); return undefined; }
  const { measures } = info, choice = kept.get(model) ?? { up: "score", across: "peak", budget: info.budget ?? null };
  kept.set(model, choice);
  const [up, across] = ["up", "across"].map((axis) => measures.find((m) => m.key === choice[axis]) ?? measures[0]);
  const points = info.points.filter((p) => p.values[across.key]), unseen = info.points.filter((p) => !p.values[across.key]);
  const rail = points.some((p) => !p.values[up.key]), sized = info.points.filter((p) => p.peak != null);
  const above = info.budget == null ? [] : [info.budget];
  const x = axis(across, points.map((p) => p.values[across.key]), across.key === "peak" ? above : []);
  const y = axis(up, points.flatMap((p) => p.values[up.key] ?? []), up.key === "peak" ? above : []);
  const part = (v, { low, high, log }) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
  const floor = H - B - (rail ? 40 : 0), railY = H - B - 16;
  const X = (v) => L + part(v, x) * (W - L - R), Y = (v) => floor - part(v, y) * (floor - T);
  const at = (p) => [X(p.values[across.key].at), p.values[up.key] ? Y(p.values[up.key].at) : railY];

  const bar = html("div", { className: "pp-controls" }, el);
  const choose = (text, axis) => {
    const box = html("select", {}, html("label", { textContent: `${text} ` }, bar));
    for (const m of measures) html("option", { value: m.key, textContent: m.title, selected: m.key === choice[axis] }, box);
    box.addEventListener("change", () => {
      choice[axis] = box.value;
      draw({ model, el }, gone);
      el.querySelectorAll("select")[axis === "up" ? 0 : 1].focus();
    });
  };
  choose("Up", "up");
  choose("Across", "across");
  const label = html("label", { textContent: "Budget " }, bar);
  const slider = html("input", { type: "range", min: 0, max: 400, step: 1 }, label);
  const shown = html("output", {}, label);
  const reset = html("button", { type: "button", textContent: "Reset" }, bar);
  const verdict = html("span", { className: "pp-verdict", ariaLive: "polite" }, bar);
  const words = points.filter((p) => p.values[up.key]).map((p) => `${p.label} ${PRINT[up.unit](p.values[up.key].at)} at ${PRINT[across.unit](p.values[across.key].at)}`);
  const alt = up.key === "score" && across.key === "peak" ? info.alt : `${up.title} against ${across.title}: ${words.join("; ") || "no run knows both"}.`;
  const title = el.closest("figure")?.firstChild;
  if (title) title.textContent = alt === info.alt ? info.title : `${up.title} against ${across.title}`;
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": alt }, el);
  const said = html("p", { className: "pp-detail", ariaLive: "polite" }, el);
  const lacking = [
    ...unseen.map((p) => `${p.label}: ${p.state === "done" ? "" : `${p.state}, `}no ${across.title}`),
    ...info.points.filter((p) => p.done < p.planned).map((p) => `${p.label}: ${p.done} of ${p.planned} runs`),
    ...info.absent.map((a) => `${a.label}: not run, 0 of ${a.planned} runs`),
  ];
  if (lacking.length) {
    const list = html("ul", { className: "pp-legend" }, el);
    list.setAttribute("aria-label", "Not in the picture");
    for (const textContent of lacking) html("li", { className: "pp-lacking", textContent }, list);
  }
  foot(info, model, gone, html("div", { className: "pp-controls" }, el));
  if (!sized.length) slider.disabled = true;

  const range = axis({ unit: "bytes" }, sized.map((p) => ({ at: p.peak, seeds: [] })), above);
  const toBytes = (s) => Math.round(range.low * (range.high / range.low) ** (s / 400));
  const toSlider = (b) => (Math.log(b / range.low) / Math.log(range.high / range.low)) * 400;

  const shade = svg("rect", { class: "pp-over" }, root);
  for (const t of ticks(x)) {
    svg("line", { class: "pp-tick", x1: X(t), x2: X(t), y1: H - B, y2: H - B + 4 }, root);
    svg("text", { x: X(t), y: H - B + 23, "text-anchor": "middle" }, root, PRINT[x.unit](t));
  }
  for (const t of ticks(y)) {
    svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }, root);
    svg("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, root, y.unit === "score" ? `${+(t * 100).toFixed(2)} %` : PRINT[y.unit](t));
  }
  svg("path", { class: "pp-axis", d: `M${L},${T}V${H - B}H${W - R}` }, root);
  if (rail) svg("line", { class: "pp-rail", x1: L, x2: W - R, y1: floor + 6, y2: floor + 6 }, root);
  const scale = ({ log }) => (log ? ", logarithmic" : ""), aim = (m) => `${m.lower_is_better ? "lower" : "higher"} is better`;
  svg("text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, root, across.key === "peak" ? `peak memory of one step${scale(x)}` : `${across.title} (${aim(across)})${scale(x)}`);
  svg("text", { x: 8, y: 16, class: "pp-strong" }, root, `${up.title} (${aim(up)})${scale(y)}`);
  const bars = svg("g", {}, root), stairs = svg("path", { class: "pp-front" }, root); // which it may run along
  let front = [];
  const line = svg("line", { class: "pp-budget" }, root);
  const name = svg("text", { class: "pp-budget-name", y: T - 8, "text-anchor": "middle" }, root);

  const marks = points.map((p) => {
    const g = svg("g", { class: "pp-mark", tabindex: -1, role: "img" }, root);
    const h = p.values[across.key], v = p.values[up.key], [x, y] = at(p);
    for (const [i, s] of (v?.seeds ?? []).entries()) {
      if (s != null) svg("circle", { class: "pp-seed", cx: X(h.seeds[i] ?? h.at), cy: Y(s), r: 2.5, fill: p.colour }, g);
    }
    const whisker = (ends) => svg("line", { ...ends, class: "pp-whisker", stroke: p.colour, "stroke-width": 2 }, bars);
    if (v?.low != null) whisker({ x1: x, x2: x, y1: Y(v.low), y2: Y(v.high) });
    if (h.low != null && h.low < h.high) whisker({ x1: X(h.low), x2: X(h.high), y1: y, y2: y });
    svg("circle", { class: "pp-focus", cx: x, cy: y, r: 13 }, g);
    if (p.reference) svg("circle", { class: "pp-reference", cx: x, cy: y, r: 10.5 }, g);
    const shape = svg("path", { d: SHAPES[p.marker] ?? SHAPES.circle, transform: `translate(${x},${y})`, stroke: p.colour, "stroke-width": 1.8 }, g);
    const leader = svg("line", { class: "pp-leader" }, g);
    const text = svg("text", {}, g);
    const show = () => { said.textContent = describe(p, choice.budget, up, across); };
    g.addEventListener("pointerenter", show);
    g.addEventListener("focus", show);
    return { p, g, shape, text, leader };
  });
  marks[0]?.g.setAttribute("tabindex", 0);

  function labels() {
    const widths = marks.map(({ text }) => text.getComputedTextLength() || text.textContent.length * 7.5);
    const obstacles = points.flatMap((p) => {
      const [x, y] = at(p), v = p.values[up.key], h = p.values[across.key];
      return [v?.low != null && [x - 3, Y(v.high), x + 3, Y(v.low)], h.low != null && [X(h.low), y - 3, X(h.high), y + 3]].filter(Boolean);
    });
    front.slice(1).forEach((p, i) => {
      const [x, y] = at(front[i]), [x2, y2] = at(p);
      obstacles.push([Math.min(x, x2), y - 2, Math.max(x, x2), y + 2], [x2 - 2, Math.min(y, y2), x2 + 2, Math.max(y, y2)]);
    });
    if (choice.budget != null && across.key === "peak") obstacles.push([X(choice.budget) - 2, T, X(choice.budget) + 2, H - B]);
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

  // Where peak memory is on one of the axes, what lies beyond the budget is shaded.
  function limit(budget) {
    const sideways = across.key === "peak", drawn = budget != null && (sideways || up.key === "peak");
    for (const node of [shade, line, name]) node.setAttribute("visibility", drawn ? "visible" : "hidden");
    if (!drawn) return;
    const at = sideways ? Math.min(W - R, Math.max(L, X(budget))) : Math.min(H - B, Math.max(T, Y(budget)));
    const set = (node, values) => { for (const [key, value] of Object.entries(values)) node.setAttribute(key, value); };
    set(shade, sideways ? { x: at, y: T, width: W - R - at, height: H - T - B } : { x: L, y: T, width: W - L - R, height: at - T });
    set(line, sideways ? { x1: at, x2: at, y1: T, y2: H - B } : { x1: L, x2: W - R, y1: at, y2: at });
    set(name, sideways ? { x: Math.min(W - 80, Math.max(L + 50, at)), y: T - 8 } : { x: W - R - 70, y: at - 8 });
    name.textContent = `budget ${size(budget)}`;
  }

  function redraw() {
    const { budget } = choice, fits = (p) => budget == null || (p.peak != null && p.peak <= budget);
    limit(budget);
    shown.textContent = budget == null ? "none" : size(budget);
    slider.value = toSlider(budget ?? range.high);
    slider.setAttribute("aria-valuetext", shown.textContent);
    const fitting = sized.filter(fits), scored = fitting.filter((p) => p.values[up.key]);
    const best = [...scored].sort((a, b) => (up.lower_is_better ? 1 : -1) * (a.values[up.key].at - b.values[up.key].at))[0];
    verdict.textContent = !sized.length ? "" : `${fitting.length} of ${sized.length} fit` + (best ? `; best mean: ${best.label}, ${PRINT[up.unit](best.values[up.key].at)}` : `; none with a ${up.key === "score" ? "score" : up.title}`);
    front = unbeaten(scored, across, up);
    stairs.setAttribute("d", front.map((p, i) => (i ? `H${at(p)[0]}V${at(p)[1]}` : `M${at(p).join()}`)).join(""));
    for (const { p, g, shape, text } of marks) {
      const placed = p.values[up.key], refused = fits(p) && info.budget != null && p.peak > info.budget;
      text.textContent = p.label + (placed ? "" : `: ${refused ? "not run" : p.state}`) + (p.peak_kind === "measured" ? "" : " (predicted)") +
        (p.reference ? ": reference, no budget" : "") + (p.done < p.planned ? `, ${p.done} of ${p.planned} runs` : "");
      shape.setAttribute("fill", fits(p) && placed ? p.colour : "none");
      g.classList.toggle("pp-quiet", points.length > MAX_NAMES && !front.includes(p));
      g.setAttribute("aria-label", describe(p, budget, up, across));
    }
    const beyond = [up.key, across.key].includes("peak") || budget == null ? "" : " Open marks do not keep the budget.";
    said.textContent = marks.length ? `Point at a method, or move through them with the arrow keys.${beyond}` : `No run has a known ${across.title}.`;
    labels();
  }

  slider.addEventListener("input", () => { choice.budget = toBytes(+slider.value); redraw(); });
  reset.addEventListener("click", () => { choice.budget = info.budget ?? null; redraw(); });
  const order = [...marks].sort((a, b) => at(a.p)[0] - at(b.p)[0]);
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
  return () => cancelAnimationFrame(frame);
}

function foot(info, model, gone, box) {
  const button = (textContent, ask) => html("button", { type: "button", textContent }, box).addEventListener("click", () => model.send({ do: ask }));
  if (info.live && gone) {
    html("span", { className: "pp-verdict", textContent: "The kernel was restarted; run this cell again.", role: "status" }, box);
  } else if (info.doing) {
    html("progress", { className: "pp-progress" }, box).setAttribute("aria-label", "Running what is missing");
    html("span", { className: "pp-verdict", textContent: info.doing }, box);
    button("Stop", "cancel");
  } else if (info.missing && info.live) {
    button(info.missing === 1 ? "Run the missing run" : `Run the ${info.missing} missing runs`, "start");
  } else if (info.missing) {
    html("span", { textContent: `${info.missing} runs are missing.${info.command ? " This runs them: " : ""}` }, box);
    if (info.command) html("code", { textContent: info.command }, box);
  }
}

// Draw now and again whenever the data change; the returned function takes everything away.
function render({ model, el }) {
  // JupyterLab takes arrow keys for its own unless the control that has the focus says that it needs them.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  let gone = false, remove;
  const again = () => { remove?.(); remove = draw({ model, el }, gone); };
  // The front end lost the kernel behind this panel: nothing that needs one may look as if it worked.
  const lose = () => { gone = true; again(); };
  again();
  model.on("change:info", again);
  model.on("comm_live_update", lose);
  return () => { model.off("change:info", again); model.off("comm_live_update", lose); remove?.(); el.replaceChildren(); };
}

export default { render };
