// A declared grid of runs as a table, or two of its metrics against each other. Draws model.get("info"); imports nothing.
const NS = "http://www.w3.org/2000/svg";
const W = 900, H = 446, L = 94, R = 24, T = 50, B = 60;

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
  return `${i === 0 ? +value.toPrecision(4) : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)} ${units[i]}`.trim();
}

const PRINT = {
  score: (v) => `${(v * 100).toFixed(1)} %`,
  bytes: (v) => scaled(v, ["B", "KiB", "MiB", "GiB", "TiB"], 1024),
  seconds: (v) => (v < 1 ? `${+(v * 1000).toPrecision(3)} ms` : `${+v.toPrecision(3)} s`),
  joules: (v) => (v < 1 ? `${+(v * 1000).toPrecision(3)} mJ` : `${+v.toPrecision(3)} J`),
  count: (v) => Math.round(v).toLocaleString("en").replaceAll(",", "\u202f"),
  number: (v) => `${+v.toPrecision(4)}`,
};

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

// As in the panel of two measures: wide ranges of sizes, times and counts are logarithmic; nothing lies below none of it.
function axis(m, values) {
  const min = Math.min(...values), max = Math.max(...values);
  if (m.unit !== "score" && m.unit !== "number" && min > 0) {
    const wide = max / min > 2.2, [low, high] = wide ? [min / 1.6, max * 1.9] : [min * 0.8, max * 1.25];
    return { low, high, log: high / low > 6, unit: m.unit };
  }
  const span = max - min || Math.abs(max) * 0.1 || 0.1;
  let low = min - span * 0.12, high = max + span * 0.12;
  if (m.unit !== "number") low = Math.max(low, -0.02 * span);
  if (m.unit === "score") high = Math.min(high, 1 + 0.04 * span);
  return { low, high, log: false, unit: m.unit };
}

function told(metric, value) {
  if (!value) return "–";
  const show = PRINT[metric.unit];
  return show(value.mean) + (value.low == null ? "" : ` (${show(value.low)} to ${show(value.high)})`);
}

const kept = new WeakMap();

function draw({ model, el }, gone) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.cells.length) { html("p", { textContent: "The grid has no cell." }, el); return; }
  const names = info.axes.map((a) => a.name), metrics = info.metrics;
  const along = Object.fromEntries(info.axes.map((a) => [a.name, a.values]));
  const choice = kept.get(model) ?? { view: "table", first: metrics[0]?.key, second: (metrics[1] ?? metrics[0])?.key, rows: names[0], columns: names[1] ?? "", fixed: {} };
  kept.set(model, choice);
  const metric = (key) => metrics.find((m) => m.key === key) ?? metrics[0];

  const bar = html("div", { className: "pp-controls" }, el);
  const place = html("div", {}, el);
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("aria-live", "polite");
  const foot = html("div", { className: "pp-controls" }, el);

  function select(text, key, options, holder = choice) {
    const box = html("select", {}, html("label", { textContent: `${text} ` }, bar));
    for (const [value, name] of options) html("option", { value, textContent: name, selected: String(holder[key]) === String(value) }, box);
    box.addEventListener("change", () => { holder[key] = box.value; paint(text); });
  }

  function controls() {
    bar.replaceChildren();
    const known = metrics.map((m) => [m.key, m.title]);
    if (known.length > 1) select("Show as", "view", [["table", "table"], ["plot", "two metrics"]]);
    if (known.length) select(choice.view === "plot" ? "Up" : "Metric", "first", known);
    if (choice.view === "plot") { select("Across", "second", known); return; }
    if (names.length > 1) {
      select("Rows", "rows", names.map((n) => [n, n]));
      if (choice.columns === choice.rows) choice.columns = names.find((n) => n !== choice.rows);
      select("Columns", "columns", names.filter((n) => n !== choice.rows).map((n) => [n, n]));
    }
    for (const n of names) if (n !== choice.rows && n !== choice.columns) {
      choice.fixed[n] ??= 0;
      select(n, n, along[n].map((v, i) => [i, v]), choice.fixed);
    }
  }

  function tell(cell) {
    const values = metrics.filter((m) => cell.values[m.key]).map((m) => `${m.title} ${told(m, cell.values[m.key])} ${cell.values[m.key].kind}`);
    said.textContent = `${cell.label}: ${cell.state}${cell.reason ? `, ${cell.reason}` : ""}; ${cell.done} of ${cell.planned} runs` +
      (values.length ? `; ${values.join("; ")}` : "") + (cell.over ? "; does not keep the budget" : "") + ".";
  }

  function table() {
    const across = names.length > 1 ? along[choice.columns] : [""], down = along[choice.rows];
    const m = metric(choice.first);
    const at = (r, c) => info.cells.find((cell) => names.every((n, k) => cell.place[k] === (n === choice.rows ? r : n === choice.columns ? c : +choice.fixed[n])));
    const shown = down.flatMap((_, r) => across.map((__, c) => at(r, c))).filter((c) => c?.values[m?.key]).map((c) => c.values[m.key].mean);
    const low = Math.min(...shown), high = Math.max(...shown);
    const frame = html("div", { className: "pp-scroll", tabIndex: 0 });
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", info.title);
    const t = html("table", { className: "pp-table pp-grid-table" }, frame);
    const head = html("tr", {}, html("thead", {}, t));
    html("th", { scope: "col", textContent: names.length > 1 ? `${choice.rows} \\ ${choice.columns}` : choice.rows }, head);
    for (const name of across) html("th", { scope: "col", textContent: name || (m?.title ?? "state") }, head);
    const body = html("tbody", {}, t);
    down.forEach((name, r) => {
      const row = html("tr", {}, body);
      html("th", { scope: "row", textContent: name }, row);
      across.forEach((_, c) => {
        const cell = at(r, c), box = html("td", {}, row);
        if (!cell) { box.textContent = "not in the grid"; box.className = "pp-absent"; return; }
        const value = cell.values[m?.key];
        box.className = [cell.done < cell.planned ? "pp-absent" : "", cell.over ? "pp-no" : ""].join(" ").trim();
        if (value) {
          const good = high > low ? (m.lower_is_better ? high - value.mean : value.mean - low) / (high - low) : 1;
          box.style.setProperty("--pp-share", `${Math.round(26 * good)}%`);
          html("strong", { textContent: PRINT[m.unit](value.mean) }, box);
          if (value.low != null) html("span", { textContent: ` ${PRINT[m.unit](value.low)} to ${PRINT[m.unit](value.high)}` }, box);
        }
        const words = [cell.over ? "over the budget" : "", cell.state !== "done" ? cell.state : value ? "" : "no value", cell.done && cell.done < cell.planned ? `${cell.done} of ${cell.planned} runs` : ""].filter(Boolean).join(", ");
        if (words) html("em", { textContent: words }, box);
        box.tabIndex = r + c ? -1 : 0;
        for (const event of ["pointerenter", "focus"]) box.addEventListener(event, () => tell(cell));
      });
    });
    t.addEventListener("keydown", (event) => {
      const here = event.target.closest("td"), row = here?.parentElement;
      const rows = { ArrowUp: row?.previousElementSibling, ArrowDown: row?.nextElementSibling }[event.key];
      const next = { ArrowLeft: here?.previousElementSibling, ArrowRight: here?.nextElementSibling }[event.key] ?? rows?.cells[here.cellIndex];
      if (next?.tagName !== "TD") return;
      event.preventDefault();
      here.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    place.replaceChildren(frame);
    const none = info.cells.filter((c) => c.done < c.planned).length;
    said.textContent = `${info.cells.length - none} of ${info.cells.length} cells are complete. A stronger tint is a better ${m?.title ?? "value"}${m?.lower_is_better ? " (lower is better)" : ""}; a bar at the left marks what does not keep the budget.`;
  }

  function plot() {
    const up = metric(choice.first), across = metric(choice.second);
    const points = info.cells.filter((c) => c.values[up.key] && c.values[across.key]);
    if (!points.length) { place.replaceChildren(html("p", { textContent: "No cell has both metrics yet." })); said.textContent = ""; return; }
    const v = (c, m) => c.values[m.key];
    const all = (m) => points.flatMap((c) => [v(c, m).mean, v(c, m).low, v(c, m).high, ...v(c, m).seeds]).filter((x) => x != null);
    const limit = info.budget, beside = (m) => (m.key === "peak" && limit != null ? [limit] : []);
    const wide = axis(across, [...all(across), ...beside(across)]), tall = axis(up, [...all(up), ...beside(up)]);
    const part = (v, { low, high, log }) => (log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low));
    const X = (x) => L + part(x, wide) * (W - L - R), Y = (y) => H - B - part(y, tall) * (H - T - B);
    const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `${up.title} against ${across.title}` });
    if (limit != null && across.key === "peak") {
      const x = X(limit);
      svg("rect", { class: "pp-over", x, y: T, width: W - R - x, height: H - T - B }, root);
      svg("line", { class: "pp-budget", x1: x, x2: x, y1: T, y2: H - B }, root);
      svg("text", { class: "pp-budget-name", x: Math.min(W - 80, Math.max(L + 50, x)), y: T - 8, "text-anchor": "middle" }, root, `budget ${PRINT.bytes(limit)}`);
    }
    if (limit != null && up.key === "peak") {
      const y = Y(limit);
      svg("rect", { class: "pp-over", x: L, y: T, width: W - L - R, height: y - T }, root);
      svg("line", { class: "pp-budget", x1: L, x2: W - R, y1: y, y2: y }, root);
      svg("text", { class: "pp-budget-name", x: W - R - 70, y: y - 8, "text-anchor": "middle" }, root, `budget ${PRINT.bytes(limit)}`);
    }
    for (const t of ticks(tall)) {
      svg("line", { class: "pp-grid", x1: L, x2: W - R, y1: Y(t), y2: Y(t) }, root);
      svg("text", { x: L - 8, y: Y(t) + 4, "text-anchor": "end" }, root, up.unit === "score" ? `${+(t * 100).toFixed(2)} %` : PRINT[up.unit](t));
    }
    for (const t of ticks(wide)) {
      svg("line", { class: "pp-tick", x1: X(t), x2: X(t), y1: H - B, y2: H - B + 4 }, root);
      svg("text", { x: X(t), y: H - B + 23, "text-anchor": "middle" }, root, PRINT[across.unit](t));
    }
    const scale = ({ log }) => (log ? ", logarithmic" : ""), aim = (m) => `${m.lower_is_better ? "lower" : "higher"} is better`;
    svg("path", { class: "pp-axis", d: `M${L},${T}V${H - B}H${W - R}` }, root);
    svg("text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, root, across.key === "peak" ? `peak memory of one step${scale(wide)}` : `${across.title} (${aim(across)})${scale(wide)}`);
    svg("text", { x: 8, y: 16, class: "pp-strong" }, root, `${up.title} (${aim(up)})${scale(tall)}`);
    const better = (a, b, m) => (m.lower_is_better ? v(a, m).mean <= v(b, m).mean : v(a, m).mean >= v(b, m).mean);
    const beats = (a, b) => better(a, b, up) && better(a, b, across) && !(better(b, a, up) && better(b, a, across));
    const known = points.filter((p) => !p.over && p.values.peak?.kind === "measured"); // a prediction beats nobody
    const front = known.filter((p) => !known.some((q) => q !== p && beats(q, p))).sort((a, b) => (v(a, across).mean - v(b, across).mean) * (across.lower_is_better ? 1 : -1));
    const bars = svg("g", {}, root); // below the front, which may run along them
    if (front.length > 1) svg("path", { class: "pp-front", d: front.map((p, i) => `${i ? "H" : "M"}${X(v(p, across).mean)}${i ? "V" : ","}${Y(v(p, up).mean)}`).join("") }, root);
    const taken = [];
    // Beside the mark, at the first height where no name stands yet; with no room left the mark says its name when pointed at.
    const name = (g, x, y, text) => {
      const end = x > W * 0.75, width = 7.4 * text.length, left = end ? x - 10 - width : x + 10;
      const dy = [-7, 10, 26, -23, -39, 42].find((d) => taken.every(([l, t, r]) => left > r || left + width < l || Math.abs(t - y - d) > 14));
      if (dy === undefined) return;
      taken.push([left, y + dy, left + width]);
      svg("text", { x: x + (end ? -10 : 10), y: y + dy, "text-anchor": end ? "end" : "start" }, g, text);
    };
    const marks = points.map((p) => {
      const g = svg("g", { class: "pp-mark", tabindex: -1, role: "img", "aria-label": `${p.label}: ${up.title} ${told(up, v(p, up))}, ${across.title} ${told(across, v(p, across))}` }, root);
      const [x, y] = [X(v(p, across).mean), Y(v(p, up).mean)];
      const whisker = (ends) => svg("line", { ...ends, class: "pp-whisker", stroke: p.colour, "stroke-width": 2 }, bars);
      if (v(p, up).low != null) whisker({ x1: x, x2: x, y1: Y(v(p, up).low), y2: Y(v(p, up).high) });
      if (v(p, across).low != null) whisker({ x1: X(v(p, across).low), x2: X(v(p, across).high), y1: y, y2: y });
      if (v(p, up).seeds.length === v(p, across).seeds.length) v(p, up).seeds.forEach((s, i) => svg("circle", { class: "pp-seed", cx: X(v(p, across).seeds[i]), cy: Y(s), r: 2.5, fill: p.colour }, g));
      svg("circle", { class: "pp-focus", cx: x, cy: y, r: 13 }, g);
      svg("path", { d: SHAPES[p.marker] ?? SHAPES.circle, transform: `translate(${x},${y})`, stroke: p.colour, "stroke-width": 1.8, fill: p.over ? "none" : p.colour }, g);
      if (points.length <= 14 || front.includes(p)) name(g, x, y, p.label);
      for (const event of ["pointerenter", "focus"]) g.addEventListener(event, () => tell(p));
      return { g, x };
    }).sort((a, b) => a.x - b.x);
    marks[0].g.setAttribute("tabindex", 0);
    root.addEventListener("keydown", (event) => {
      const here = marks.findIndex(({ g }) => g === document.activeElement);
      const next = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: marks.length - 1 }[event.key];
      if (here < 0 || !marks[next]) return;
      event.preventDefault();
      marks[here].g.setAttribute("tabindex", -1);
      marks[next].g.setAttribute("tabindex", 0);
      marks[next].g.focus();
    });
    place.replaceChildren(root);
    const left = info.cells.length - points.length;
    said.textContent = `${points.length} cells; the dashed line joins those that keep the budget and that no other beats in both. Open marks do not keep it.${left ? ` ${left} cells are missing one of the two.` : ""} Move through them with the arrow keys.`;
  }

  function paint(changed) {
    const label = changed ?? "";
    controls();
    if (choice.view === "plot") plot(); else table();
    if (label) [...bar.querySelectorAll("label")].find((l) => l.textContent.startsWith(label) || l.firstChild.textContent.trim() === label)?.querySelector("select").focus();
  }

  if (info.problem) html("p", { className: "pp-why", role: "alert", textContent: info.problem }, el);
  if (info.live && gone) {
    html("span", { className: "pp-verdict", role: "status", textContent: "The kernel was restarted; run this cell again." }, foot);
  } else if (info.doing) {
    html("progress", { className: "pp-progress" }, foot).setAttribute("aria-label", "Running what is missing");
    html("span", { className: "pp-verdict", textContent: info.doing }, foot);
    html("button", { type: "button", textContent: "Stop" }, foot).addEventListener("click", () => model.send({ do: "cancel" }));
  } else if (info.missing && info.live) {
    html("button", { type: "button", textContent: info.missing === 1 ? "Run the missing run" : `Run the ${info.missing} missing runs` }, foot)
      .addEventListener("click", () => model.send({ do: "start" }));
  } else if (info.missing) {
    html("span", { textContent: `${info.missing} runs are missing.${info.command ? " This runs them: " : ""}` }, foot);
    if (info.command) html("code", { textContent: info.command }, foot);
  }
  paint();
}

// Draw now and again whenever the data change; the returned function takes everything away.
function render({ model, el }) {
  // JupyterLab takes arrow keys for its own unless the control that has the focus says that it needs them.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  let gone = false;
  const again = () => draw({ model, el }, gone);
  // The front end lost the kernel behind this panel: nothing that needs one may look as if it worked.
  const lose = () => { gone = true; again(); };
  again();
  model.on("change:info", again);
  model.on("comm_live_update", lose);
  return () => { model.off("change:info", again); model.off("comm_live_update", lose); el.replaceChildren(); };
}

export default { render };
