// A question to answer before the answer is shown. Draws model.get("info"); imports nothing.
function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

// A guess made on a page without a kernel lives as long as the page; the same question asked again remembers it.
const made = new Map();
let serial = Math.floor(Math.random() * 1e9); // JupyterLab loads one copy of a module per panel, ids must differ

function draw({ model, el }, gone) {
  const info = model.get("info");
  el.replaceChildren();
  el.classList.add("pp-panel");
  const own = info.choice ?? made.get(info.question) ?? null;
  const revealed = info.answer != null;
  const name = `pp-guess-${++serial}`;

  const group = html("fieldset", { className: "pp-choice pp-guess" }, el);
  html("legend", { textContent: info.question }, group);
  const said = html("p", { className: "pp-detail" });
  said.setAttribute("aria-live", "polite");

  const tell = (choice, shown) => {
    if (!revealed) { said.textContent = choice == null ? "Choose one, then run on: there is no wrong moment to be wrong." : `Your guess: ${info.options[choice]}. Run on to see.`; return; }
    if (choice == null && !shown) { said.textContent = "Choose one to see the answer."; return; }
    const right = info.options[info.answer];
    const verdict = choice == null ? `It is: ${right}.` : choice === info.answer ? `You guessed it: ${right}.` : `You guessed ${info.options[choice]}; it is: ${right}.`;
    said.textContent = `${verdict} ${info.because}`.trim();
    labels.forEach((label, i) => { label.dataset.right = i === info.answer ? "yes" : i === choice ? "no" : ""; });
  };

  const labels = info.options.map((option, i) => {
    const label = html("label", {}, group);
    const box = html("input", { type: "radio", name, value: i, checked: i === own }, label);
    html("span", { textContent: ` ${option}` }, label);
    box.addEventListener("change", () => {
      made.set(info.question, i);
      if (info.live) model.send({ do: "guess", choice: i });
      tell(i, true);
    });
    return label;
  });
  if (revealed && own == null) {
    const show = html("button", { type: "button", textContent: "Show the answer" }, html("div", { className: "pp-controls" }, group));
    show.addEventListener("click", () => { show.disabled = true; tell(null, true); });
  }
  el.append(said);
  tell(own, false);
  if (info.live && gone) {
    group.disabled = true;
    said.textContent += " The kernel was restarted; run this cell again.";
  }
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
