// Small charts of the last minutes. Owns a ring of one value a second and its drawing by uPlot, and says the same in
// words for who cannot see it. A second without a value is a gap, never a zero.

import { seconds } from "./parts.js";

const SECONDS_MAX = 180;
const HEIGHT_PX = 60;
const ROOM = 1.15; // above the largest value
const SPOKEN_EVERY_S = 10; // a label that changes each second would be read out without end

export class Chart {
  #values = new Array(SECONDS_MAX).fill(null);
  #plot = null;
  #tick = 0;

  /** `say` makes the label's words of the newest value and the largest one. */
  constructor(element, say) {
    this.element = element;
    this.say = say;
    new ResizeObserver(() => this.#resize()).observe(element);
  }

  push(value) {
    this.#values.push(value);
    this.#values.shift();
    if (this.#plot) this.#plot.setData(this.#data());
    else this.#resize();
    if (this.#tick++ % SPOKEN_EVERY_S === 0) {
      const known = this.#values.filter((each) => each !== null);
      this.element.setAttribute("aria-label", known.length ? this.say(value, Math.max(...known)) : "nothing known yet");
    }
  }

  redraw() { this.#plot?.redraw(); }

  #data() { return [this.#values.map((_, index) => index - SECONDS_MAX + 1), this.#values]; }

  #resize() {
    const width = Math.floor(this.element.clientWidth);
    if (width < 40) return;
    if (this.#plot) this.#plot.setSize({ width, height: HEIGHT_PX });
    else this.#plot = new uPlot(this.#options(width), this.#data(), this.element);
  }

  #options(width) {
    // A canvas knows no custom properties: the style sheet puts the two colours where they can be read as such.
    const ink = () => getComputedStyle(this.element).color;
    const faint = () => getComputedStyle(this.element).caretColor;
    const soft = () => getComputedStyle(this.element.parentElement).color;
    return {
      width, height: HEIGHT_PX, pxAlign: 1, legend: { show: false }, cursor: { show: false }, padding: [6, 2, 7, 2],
      scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(1, max ?? 0) * ROOM] } },
      axes: [
        { show: false },
        { side: 1, size: 34, gap: 4, font: "11px system-ui, sans-serif", stroke: soft, ticks: { show: false },
          grid: { stroke: faint, width: 1 }, splits: (plot) => [0, plot.scales.y.max / ROOM],
          values: (_, splits) => splits.map((value) => (value >= 10 ? Math.round(value) : Math.round(value * 10) / 10)) },
      ],
      series: [{}, { stroke: ink, width: 1.5, spanGaps: false, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) }],
    };
  }
}

export const saysRate = (now, most) => `Versions a second, last three minutes: ${now ?? "not known"} now, at most ${most}`;
export const saysLag = (now, most) => `Behind, last three minutes: ${now === null ? "not known" : seconds(now)} now, at most ${seconds(most)}`;
