// A question to answer before the answer is shown. Draws model.get("info"); imports nothing.
function html(tag, properties, parent) {
  const node = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(node);
  return node;
}

// A guess made on a page without a kernel lives as long as the page. The box with the answer takes it over from the box
// that asked: `made` holds guesses by question, `others` who is told of one. With a kernel, that tells both.
const made = new Map(), others = new Set();
let serial = Math.floor(Math.random() * 1e9); // every panel of a notebook may load a module of its own: no name may come twice

function tellOthers(own, question) {
  for (const other of [...others]) if (other.again !== own && other.question() === question) other.again();
}

function draw({ model, el }, gone, own) {
  const info = model.get("info");
  const focus = [...el.querySelectorAll("input")].indexOf(el.getRootNode().activeElement);
  el.replaceChildren();
  el.classList.add("pp-panel");
  const first = info.choice ?? made.get(info.question) ?? null;
  const asks = info.part === "question", below = info.part === "answer";
  const revealed = info.answer != null && !asks;
  const name = `pp-guess-${++serial}`;

  const group = html("fieldset", { className: "pp-choice pp-guess" }, el);
  html("legend", { textContent: info.question }, group);
  const said = html("p", { className: "pp-detail" });
  said.setAttribute("aria-live", "polite");

  const tell = (choice, shown) => {
    if (!revealed) { said.textContent = choice == null ? "Choose one, then read on: there is no wrong moment to be wrong." : `Your guess: ${info.options[choice]}. ${info.live && info.answer == null ? "Run on to see." : "The answer is below."}`; return; }
    if (choice == null && !shown) { said.textContent = below ? "You have not guessed yet. Choose above, or take the answer without a guess." : "Choose one to see the answer."; return; }
    const right = info.options[info.answer];
    const verdict = choice == null ? `It is: ${right}.` : choice === info.answer ? `You guessed it: ${right}.` : `You guessed ${info.options[choice]}; it is: ${right}.`;
    said.textContent = `${verdict} ${info.because}`.trim();
    labels.forEach((label, i) => { label.dataset.right = i === info.answer ? "yes" : i === choice ? "no" : ""; });
  };

  const labels = info.options.map((option, i) => {
    const label = html("label", {}, group);
    const box = html("input", { type: "radio", name, value: i, checked: i === first }, label);
    html("span", { textContent: ` ${option}` }, label);
    box.addEventListener("change", () => {
      made.set(info.question, i);
      if (info.live) model.send({ do: "guess", choice: i });
      tell(i, true);
      tellOthers(own, info.question);
    });
    return label;
  });
  group.hidden = below && first == null;
  el.append(said);
  if (revealed && first == null) {
    const show = html("button", { type: "button", textContent: "Show the answer" }, html("div", { className: "pp-controls" }, below ? el : group));
    show.addEventListener("click", () => {
      show.setAttribute("aria-disabled", true);
      group.hidden = false;
      tell(null, true);
    });
  }
  tell(first, false);
  // Beside the answer a guess is none any more.
  group.disabled = asks && info.answer != null && info.choice != null;
  if (focus >= 0) labels[focus]?.querySelector("input").focus();
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
  const again = () => draw({ model, el }, gone, again);
  const other = { again, question: () => model.get("info").question };
  // The front end lost the kernel behind this panel: nothing that needs one may look as if it worked.
  const lose = () => { gone = true; again(); };
  again();
  others.add(other);
  model.on("change:info", again);
  model.on("comm_live_update", lose);
  return () => { others.delete(other); model.off("change:info", again); model.off("comm_live_update", lose); el.replaceChildren(); };
}

export default { render };
