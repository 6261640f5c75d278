(// What a reader meets in a panel: asked by test_reach.py in the page itself.
{
  // Words in pictures against the page behind them, where they are too near to it; words on a shape have a halo.
  faint() {
    const shade = (c) => { const v = c.match(/[\d.]+/g).map(Number); return [v.slice(0, 3), v[3] ?? 1]; };
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const paper = shade(getComputedStyle(document.body).backgroundColor)[0];
    return this.words().flatMap((t) => {
      let [ink, alpha] = shade(getComputedStyle(t).fill);
      for (let e = t; e instanceof Element; e = e.parentElement) alpha *= getComputedStyle(e).opacity;
      const [a, b] = [light(ink.map((v, i) => v * alpha + paper[i] * (1 - alpha))), light(paper)];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      return ratio < 4.5 ? [`${t.textContent}: ${ratio.toFixed(2)}`] : [];
    });
  },

  words() {
    const shown = (t) => t.textContent && t.getBoundingClientRect().height && getComputedStyle(t).visibility !== "hidden";
    return [...document.querySelectorAll("svg text")].filter(shown);
  },

  small(pixels) {
    const height = (t) => parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a;
    return this.words().filter((t) => height(t) < pixels).map((t) => `${t.textContent}: ${height(t).toFixed(1)}`);
  },

  sideways() {
    return document.documentElement.scrollWidth > innerWidth;
  },

  cut() {
    const tables = [...document.querySelectorAll(".pp-scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1);
    const words = this.words().filter((t) => t.getBoundingClientRect().right > innerWidth);
    return [...tables, ...words].map((e) => e.textContent);
  },

  // What can be used and is shown, numbered so that each can be told apart; a group of radios is one stop.
  controls() {
    const used = 'a[href], button, input, select, summary, textarea, [tabindex="0"]';
    const groups = new Set();
    const stops = [...host.querySelectorAll(used)].filter((e) => e.checkVisibility() && !e.disabled)
      .filter((e) => e.type !== "radio" || (!groups.has(e.name) && groups.add(e.name)));
    stops.forEach((e, i) => { e.dataset.number = i; });
    return stops.length;
  },

  // Which of them has the focus, and whether that shows.
  focused() {
    const e = document.activeElement, style = getComputedStyle(e), ring = e.querySelector(".pp-focus");
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    const ringed = ring !== null && getComputedStyle(ring).stroke !== "none";
    const stop = e.type === "radio" ? [...document.getElementsByName(e.name)].find((r) => r.dataset.number) : e;
    return [stop?.dataset.number ?? null, outlined || ringed, e.outerHTML.slice(0, 120)];
  },
})
