// Every method against a budget that the reader moves: fits, or not and why.
const NS = "http://www.w3.org/2000/svg";
const BAR = 300;

function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  for (const name of ["role", "aria-label", "aria-live"]) if (name in properties) node.setAttribute(name, properties[name]);
  parent?.append(node);
  return node;
}

function svg(tag, attributes, parent) {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; bytes >= 1024 && i < 4; i++) bytes /= 1024;
  return `${i === 0 ? Math.round(bytes) : bytes.toFixed(bytes >= 100 ? 0 : bytes >= 10 ? 1 : 2)} ${units[i]}`;
}

// A second sign beside the colour.
const TEXTURES = ["", "M4,0V8", "M0,0L8,8M8,0L0,8", "M0,8L8,0", "M0,0L8,8", "M0,4H8"];
let serial = Math.floor(Math.random() * 1e9); // a notebook may load a module per panel

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
const joules = (j) => {
  const [v, unit] = j < 1 ? [j * 1000, "mJ"] : j < 1000 ? [j, "J"] : j < 1e6 ? [j / 1000, "kJ"] : [j / 1e6, "MJ"];
  return `${v < 100 ? v.toPrecision(3) : Math.round(v)} ${unit}`;
};
const absent = (v, print, kind) => (v == null ? "–" : `${print(v)}${kind ? ` (${kind})` : ""}`);

const ORDERS = {
  "peak memory": (m) => m.peak ?? Infinity,
  name: (m) => m.label,
  family: (m) => m.family,
  "step time": (m) => m.step_time ?? Infinity,
  score: (m) => -(m.score ?? -Infinity),
};

// As in workbench/memory/size_model.py.
const TERMS = { 1: () => 1, "b t": (b, t) => b * t, b: (b) => b, t: (b, t) => t, "b t^2": (b, t) => b * t * t, "t^2": (b, t) => t * t };
const powers = (names, b, t) => names.map((name) => TERMS[name](b, t));
const dot = (coefficients, at) => coefficients.reduce((sum, c, i) => sum + c * at[i], 0);

// Small batches can run other operators: fitted apart.
const side = (sizes, batch) => (sizes.below && batch < sizes.least ? sizes.below : sizes);

// Every row's bytes by category at a shape.
function splits(sizes, count, batch, length) {
  const at = powers(sizes.terms, batch, length);
  return sizes.rows.map(([, , parts]) => {
    const split = new Array(count).fill(0);
    for (const [category, term, eighths] of parts) split[category] += (eighths / 8) * at[term];
    return split.map(Math.round);
  });
}

// The row with the most bytes at a shape: [bytes by category, row].
function highest(sizes, count, batch, length) {
  const all = splits(sizes, count, batch, length), totals = all.map(sum), best = totals.indexOf(Math.max(...totals));
  return [all[best], sizes.rows[best]];
}

// Bytes at the peak of micro-batches: every gradient is live, all inputs are held.
function accumulated(sizes, categories, batch, length, times) {
  const all = splits(sizes, categories.length, batch, length);
  const at = categories.indexOf("gradients");
  const [gradients, inputs] = [at, categories.indexOf("inputs")].map((i) => Math.max(...all.map((split) => split[i])));
  if (times < 2) return Math.max(...all.map(sum));
  return Math.max(...all.map((split) => sum(split) + gradients - split[at] + (times - 1) * inputs)) * sizes.adding;
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

const same = (shape, batch, length) => shape && batch === shape[0] && length === shape[1];

// Why the sizes cannot answer this shape.
function refusal(sizes, batch, length) {
  if (same(sizes.traced, batch, length)) return "";
  const fitted = length === sizes.traced[1] || length <= sizes.lengths;
  return sizes.reason || (fitted ? "" : "length not fitted");
}

// Seconds of a step: each class of operators computes or moves, and calls.
function stepTime(sizes, device, batch, length) {
  const known = device.seconds;
  if (!("calls" in known)) return null;
  const at = powers(sizes.work_terms, batch, length), amount = (c) => Math.max(0, dot(c, at));
  return sum(Object.entries(sizes.work).map(([name, group]) => {
    let computing = 0;
    for (const quantity in group) if (quantity.startsWith("flops ")) computing += amount(group[quantity]) * known[quantity];
    return Math.max(computing, group.bytes ? amount(group.bytes) * known[`bytes ${name}`] : 0) + (group.calls ? amount(group.calls) * known.calls : 0);
  }));
}

// The method on another device and at another shape.
function reshaped(m, info, device, batch, length) {
  const own = same(info.shape, batch, length), here = !device || device === info.devices[0];
  if ((own && here) || !m.sizes) return m;
  const ways = m.ways.filter((w) => w[2] === "planned"); // on the device itself, whatever the batch
  const unknown = { ...m, peak: null, by_category: [], ways, step_time: null, energy: null };
  const sizes = side(m.sizes, batch);
  const time = device ? stepTime(sizes, device, batch, length) : null;
  const costs = { step_time: time, energy: time != null && device.watts != null ? time * device.watts : null, step_time_kind: "extrapolated", energy_kind: "extrapolated", divided: null };
  if (own) return { ...m, ...costs };
  const why = refusal(sizes, batch, length);
  if (why) return { ...unknown, source: why };
  const [split, [layer, bound]] = highest(sizes, info.categories.length, batch, length);
  if (bound) return { ...unknown, source: "known as an upper bound only" };
  const binding = info.categories[split.indexOf(Math.max(...split))];
  const source = same(sizes.traced, batch, length) ? "predicted" : batch === 1 ? "fitted; batch 1 skips some copies, so this may be a little high" : "fitted";
  return { ...m, peak: sum(split), by_category: split, binding, layer, ways, source, ...costs };
}

// Divisions of the batch, largest first: [batch, how many are added, bytes].
let last = [];
function divided(m, info, batch, length) {
  if (last[0] !== batch) {
    last = [batch];
    for (let times = 2; times <= batch; times++) if (batch % times === 0) last.push(times);
  }
  return last.slice(1).flatMap((times) => {
    const b = batch / times, sizes = side(m.sizes, b), adds = sizes.adding ? times : 1;
    return refusal(sizes, b, length) ? [] : [[b, adds, accumulated(sizes, info.categories, b, length, adds)]];
  });
}

// The largest division that fits.
function smaller(m, info, budget, batch, length) {
  m.divided ??= m.sizes ? divided(m, info, batch, length) : [];
  const [b, adds, peak] = m.divided.find((one) => one[2] <= budget) ?? [];
  return b && [`batch ${b}${adds > 1 ? ` accumulated ${adds} times` : ""}`, peak, "fitted"];
}

function verdict(m, info, budget, batch, length) {
  if (m.reason) return ["cannot", `cannot: ${m.reason}`];
  if (m.peak == null) return ["unknown", m.source.includes(" ") ? `not predicted: ${m.source}` : "peak not known"];
  if (budget == null || m.peak <= budget) return ["fits", budget == null ? "no budget" : `fits, ${size(budget - m.peak)} free`];
  const ways = (m.ways ?? []).filter(([, bytes]) => bytes <= budget);
  const way = ways.find((w) => w[2] !== "fitted") ?? ways[0] ?? smaller(m, info, budget, batch, length);
  const over = `${size(m.peak - budget)} over, ${m.binding}`;
  return way ? ["if", `fits if ${way[0]} (${way[2]}; ${over})`] : ["over", over];
}

// Why a size is not usable.
function unusable(field, input, [least, most, words]) {
  const value = input.value === "" ? NaN : +input.value;
  if (Number.isInteger(value) && least <= value && value <= most) return "";
  return `${field}: ${input.value === "" ? "nothing" : input.value} is not usable; expected ${words}.`;
}

// What the reader chose outlives new data.
const kept = new WeakMap();

const SIGNS = { fits: "✓", if: "◐", over: "✕", cannot: "⊘", unknown: "?" };

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (info.methods.every((m) => m.peak == null)) { html("p", { textContent: "No method has a known peak." }, el); return; }
  let low, high, widest;
  function span(methods) {
    const peaks = methods.map((m) => m.peak).filter((p) => p != null), sizes = marked.map((m) => m[1]);
    const anchors = [...peaks, ...(budget ? [budget] : []), ...sizes];
    low = Math.min(...anchors) / 2;
    high = marked.length ? Math.max(budget ?? 0, ...sizes) : Math.max(...anchors) * 2; widest = Math.max(1, ...peaks) * 1.05;
  }
  const toBytes = (s) => Math.round(low * (high / low) ** (s / 500));
  const toSlider = (b) => (Math.log(b / low) / Math.log(high / low)) * 500;
  const before = kept.get(model);
  const mine = before && [before.given, before.budget].includes(info.budget);
  const choice = mine ? before : { budget: info.budget ?? null, order: "peak memory", wanted: "", device: info.devices[0]?.name, task: info.task };
  choice.given = info.budget;
  kept.set(model, choice);
  let { budget, wish = budget, order, wanted } = choice; // a device may have less free
  let device = info.devices.find((d) => d.name === choice.device) ?? info.devices[0];
  let marked = device?.marks ?? info.marks;
  let [batch, length] = info.shape ?? [0, 0];
  const long = info.methods.some((m) => m.sizes?.lengths);
  span(info.methods);

  const bar = html("div", { className: "pp-controls" }, el);
  const asks = Object.keys(info.choices).length > 0;
  const field = (name) => html("label", { textContent: `${name} ` }, bar);
  function choose(name, values, value, change, usable = true) {
    const box = html("select", { disabled: !usable }, field(name));
    box.dataset.choice = name;
    for (const one of values) html("option", { value: one, textContent: one, selected: one === value }, box);
    box.addEventListener("change", () => change(box.value));
    return box;
  }
  if (info.task) {
    const send = (wanted) => { choice.focus = document.activeElement?.dataset.choice; model.send({ do: "choose", batch, length, budget, device: device.name, ...wanted }); };
    const models = [...new Set([...(info.choices[info.task] ?? []), info.model])];
    choose("Task", asks ? Object.keys(info.choices) : [info.task], info.task, (task) => send({ task }), asks);
    choose("Model", models, info.model, (name) => send({ task: info.task, model: name }), asks);
  }
  if (info.devices.length) choose("Device", info.devices.map((d) => d.name), device.name, (name) => {
    device = info.devices.find((d) => d.name === name);
    choice.device = name;
    marked = device.marks;
    if (wish != null) budget = Math.min(wish, device.free);
    mark();
    reshape();
  });
  const budgetLabel = field("Budget");
  const slider = html("input", { type: "range", min: 0, max: 500, step: 1 }, budgetLabel);
  const shown = html("output", {}, budgetLabel);
  const ticks = html("datalist", { id: `pp-fit-marks-${++serial}` }, bar);
  slider.setAttribute("list", ticks.id);
  const marks = html("select", {});
  function mark() {
    marks.replaceChildren(...[["none", ""], ...marked].map(([textContent, value]) => html("option", { value, textContent })));
  }
  if (marked.length) {
    field("Mark").append(marks);
    mark();
    marks.addEventListener("change", () => { if (marks.value) wished(+marks.value); });
  }
  const asked = []; // fields and what they may hold
  function number(name, value, limits) {
    const input = html("input", { type: "number", min: limits[0], max: limits[1], step: 1, value }, field(name));
    asked.push([name, input, limits]);
    input.addEventListener("input", () => { if (ask()) { [batch, length = length] = asked.map((one) => +one[1].value); reshape(); } });
  }
  // Say what can be asked for; the table answers another question.
  function ask() {
    const wrong = asked.map(([name, input, limits]) => {
      const why = unusable(name, input, limits);
      input.setAttribute("aria-invalid", String(why !== ""));
      return why;
    }).filter(Boolean);
    problem.textContent = wrong.join(" ");
    summary.hidden = frame.classList.toggle("pp-stale", wrong.length > 0);
    return !summary.hidden;
  }
  if (info.shape) {
    const any = [1, 1e6, "a whole number of at least 1"];
    number("Batch", batch, info.batches ?? any);
    if (long) number("Length", length, info.lengths ?? any);
  }
  choose("Sort by", Object.keys(ORDERS).slice(0, info.metric ? 5 : 4), order, (name) => { choice.order = order = name; arrange(); });
  const filter = html("input", { type: "search", size: 12 }, field("Filter"));
  const summary = html("p", { className: "pp-detail", "aria-live": "polite" }, el);
  const doing = html("p", { role: "status" }, el), problem = html("p", { className: "pp-refused", role: "alert" }, el);
  if (info.task && !asks) html("p", { textContent: "Another task or model is predicted in a notebook by widgets.explore." }, el);

  const known = (part) => info.methods.some((m) => m[part] != null) || info.devices.some((d) => (part === "energy" ? d.watts != null : true) && "calls" in d.seconds);
  const timed = known("step_time"), powered = known("energy");
  const frame = html("div", { className: "pp-scroll", tabIndex: 0, role: "region", "aria-label": info.title }, el);
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
  const none = html("p", {}, frame);
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
    const kind = /^(measured|fitted)/.exec(m.source)?.[0] ?? "predicted";
    cells.peak.textContent = m.peak == null ? "–" : `${size(m.peak)} (${kind})`;
    cells.peak.title = m.source;
    if (cells.time) cells.time.textContent = absent(m.step_time, seconds, m.step_time_kind);
    if (cells.energy) cells.energy.textContent = absent(m.energy, joules, m.energy_kind);
  }

  function reshape() {
    for (const row of rows) row.m = reshaped(row.given, info, device, batch, length);
    span(rows.map((row) => row.m));
    ticks.replaceChildren(...marked.map(([label, bytes]) => html("option", { value: Math.round(toSlider(bytes)), label })));
    rows.forEach(paint);
    judge();
  }

  function judge() {
    let fitting = 0, counted = 0;
    for (const { m, row, said, line } of rows) {
      const [state, text] = verdict(m, info, budget, batch, length);
      row.dataset.state = state;
      const parts = `${SIGNS[state]} ${text}`.split(/(--\S+ \S+)/);
      said.replaceChildren(...parts.map((part, i) => (i % 2 ? html("code", { textContent: part }) : part)));
      if (m.layer && m.peak != null) html("span", { className: "pp-where" }, said).append(` peak${state === "fits" ? `: ${m.binding}` : ""} in `, ...m.layer.split(/(?<=[._])/).flatMap((s) => [s, html("wbr", {})]));
      const here = matches({ m, row });
      counted += here;
      fitting += here && state === "fits";
      const x = budget == null ? -5 : Math.min(BAR + 5, (budget / widest) * BAR);
      line.setAttribute("transform", `translate(${x})`);
    }
    shown.textContent = budget == null ? "none" : size(budget);
    slider.value = toSlider(budget ?? high);
    marks.value = marked.some((m) => m[1] === budget) ? budget : "";
    slider.setAttribute("aria-valuetext", shown.textContent);
    Object.assign(choice, { budget, wish });
    const what = info.task ? `${info.task} on ${info.model}: ` : "", where = device?.name ?? info.device;
    let told = device && budget > device.free ? ` That is more than the ${size(device.free)} which are free there.` : wish > budget ? ` The budget was lowered from ${size(wish)} to what is free there.` : "";
    if (choice.task !== info.task) told += ` The budget is still that of ${choice.task}.`;
    if (info.shape && !same(info.shape, batch, length) && rows.some(({ row }) => row.dataset.state === "over")) told += ` Of ways out, settings were tried at batch ${info.shape[0]} alone.`;
    summary.textContent = `${what}${fitting} of ${counted} ${wanted ? "methods shown" : "methods"} fit${budget == null ? "" : ` under ${size(budget)}`}${where ? ` on ${where}` : ""}${info.shape ? `, batch ${batch}${long ? `, length ${length}` : ""}` : ""}.${told}`;
    arrange();
  }

  function wished(bytes) {
    budget = wish = bytes;
    choice.task = info.task;
    judge();
  }

  const matches = ({ m, row }) => (m.family + row.textContent).toLowerCase().includes(wanted);
  function arrange() {
    const key = ORDERS[order], kept = rows.filter(matches).sort((a, b) => (key(a.m) < key(b.m) ? -1 : +(key(a.m) > key(b.m))));
    body.replaceChildren(...kept.map(({ row }) => row));
    none.textContent = kept.length ? "" : `no method matches “${filter.value.trim()}”`;
  }

  slider.addEventListener("input", () => wished(toBytes(+slider.value)));
  filter.addEventListener("input", () => { choice.wanted = wanted = filter.value.trim().toLowerCase(); judge(); });
  filter.value = wanted;
  reshape();
  if (choice.focus) el.querySelector(`[data-choice=${choice.focus}]`)?.focus();
  choice.focus = undefined;
  // What is shown stays while the kernel predicts; a failed choice is taken back.
  function tell() {
    doing.textContent = model.get("doing") ? `… ${model.get("doing")}` : "";
    const failed = model.get("problem") ?? "";
    problem.textContent = failed;
    frame.setAttribute("aria-busy", !!doing.textContent);
    if (failed) for (const [name, value] of [["Task", info.task], ["Model", info.model]]) { const box = el.querySelector(`[data-choice=${name}]`); if (box) box.value = value; }
  }
  tell();
  const both = (act) => { for (const name of ["doing", "problem"]) model[act](`change:${name}`, tell); };
  both("on");
  return () => both("off");
}

// Draws whenever the data change; what is returned takes all away.
function render({ model, el }) {
  // Else JupyterLab takes arrow keys for its own.
  el.addEventListener("focusin", (event) => event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  let remove = draw({ model, el });
  const again = () => { remove?.(); remove = draw({ model, el }); };
  model.on("change:info", again);
  return () => { model.off("change:info", again); remove?.(); el.replaceChildren(); };
}

export default { render };
