// Runs side by side, with their differences only on demand. Draws model.get("info"); imports nothing.
function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

// What the reader chose outlives new data.
const kept = new WeakMap();

function draw({ model, el }) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  if (!info.columns.length) { html("p", { textContent: "No runs to compare." }, el); return; }
  const choice = kept.get(model) ?? { only: info.columns.length > 1, hidden: new Set(), text: "" };
  kept.set(model, choice);

  const bar = html("div", { className: "pp-controls" }, el);
  const only = html("input", { type: "checkbox", checked: choice.only }, html("label", {}, bar));
  only.after(" Differences only");
  const search = html("input", { type: "search", value: choice.text, placeholder: "learning rate, peak …" }, html("label", { textContent: "Find " }, bar));
  const group = html("fieldset", { className: "pp-choice" }, el);
  html("legend", { textContent: "Runs" }, group);
  const said = html("p", { className: "pp-detail" }, el);
  said.setAttribute("aria-live", "polite");
  const frame = html("div", { className: "pp-scroll", tabIndex: 0 }, el);
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", info.title);

  info.columns.forEach((name, i) => {
    const box = html("input", { type: "checkbox", checked: !choice.hidden.has(i) }, html("label", {}, group));
    box.after(` ${name}`);
    box.addEventListener("change", () => {
      if (box.checked) choice.hidden.delete(i); else choice.hidden.add(i);
      paint();
    });
  });

  function paint() {
    const columns = info.columns.map((_, i) => i).filter((i) => !choice.hidden.has(i));
    const differs = (line) => new Set(columns.map((i) => line.values[i])).size > 1;
    const text = choice.text.trim().toLowerCase();
    const lines = info.lines.filter((line) => (!choice.only || differs(line)) && (!text || `${line.section} ${line.name}`.toLowerCase().includes(text)));
    const different = info.lines.filter(differs).length;
    said.textContent = columns.length < 2 ? "Choose at least two runs to see how they differ."
      : `${columns.length} runs differ in ${different} of ${info.lines.length} facts; ${lines.length} shown. A paler value is the same as that of ${info.columns[columns[0]]}.`;
    const table = html("table", { className: "pp-table pp-compare" });
    const head = html("tr", {}, html("thead", {}, table));
    for (const name of ["Fact", ...columns.map((i) => info.columns[i])]) html("th", { scope: "col", textContent: name }, head);
    let section = "", body;
    for (const line of lines) {
      if (line.section !== section) {
        section = line.section;
        body = html("tbody", {}, table);
        html("th", { scope: "rowgroup", colSpan: columns.length + 1, className: "pp-section", textContent: section }, html("tr", {}, body));
      }
      const row = html("tr", { className: differs(line) ? "pp-differs" : "" }, body);
      html("th", { scope: "row", textContent: line.name }, row);
      // What equals the first run steps back, so that the eye finds what does not.
      for (const i of columns) html("td", { textContent: line.values[i], className: i !== columns[0] && line.values[i] === line.values[columns[0]] ? "pp-same" : "" }, row);
    }
    frame.replaceChildren(...(lines.length ? [table] : [html("p", { textContent: columns.length < 2 ? "" : "No fact to show: the runs do not differ, or nothing matches the search." })]));
  }

  only.addEventListener("change", () => { choice.only = only.checked; paint(); });
  search.addEventListener("input", () => { choice.text = search.value; paint(); });
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
