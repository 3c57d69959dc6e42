// Views over the last 30 minutes: final windows as a line, the provisional end dashed and hatched. The same as a table.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { el, rows, say, the } from "../dom";
import { clock, count, percent } from "../format";
import { type Model, SHOWN } from "../model";

const HEIGHT = 240;

export class Chart {
  private plot: uPlot | null = null;
  private readonly frame = el("div", { class: "plot", role: "img", "aria-label": "Views over time; the table below has the numbers" });
  private readonly note = el("p", { class: "note" });
  private readonly body = el("tbody");
  private provisionalFrom: number | null = null;

  constructor() {
    const head = ["Window's end (UTC)", "Views", "Users", "Clicks", "Conversions", "Engagement", "Bounce rate", ""];
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...head.map((title) => el("th", { scope: "col" }, title)))), this.body);
    the("series").append(this.frame, this.note, el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll" }, table)));
    new ResizeObserver(() => this.plot?.setSize({ width: this.frame.clientWidth, height: HEIGHT })).observe(this.frame);
  }

  /** Colours come from the style sheet, so they are taken anew with a theme. */
  recolor(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  draw(model: Model): void {
    const finals = model.finals();
    const tail = model.tail();
    const last = finals[finals.length - 1];
    const samples = [...finals, ...tail];
    const seconds = samples.map((sample) => sample.end / 1_000);
    const views = samples.map((sample) => (sample.provisional ? null : (sample.totals?.view_count ?? null)));
    // The dashed line begins where the solid one ends.
    const passing = samples.map((sample) => (sample.provisional || sample === last ? (sample.totals?.view_count ?? null) : null));
    this.provisionalFrom = tail.length > 0 && last ? last.end / 1_000 : null;
    say(this.note, samples.length === 0 ? "No data yet: the first window is sealed some 40 seconds after the first event." : "Each point is a whole window. Hatched: provisional, replaced when the window is sealed.");
    this.frame.classList.toggle("stale", model.stale());
    this.frame.hidden = samples.length === 0;
    if (samples.length > 0) {
      this.plot ??= this.make();
      if (this.plot.width !== this.frame.clientWidth && this.frame.clientWidth > 0) this.plot.setSize({ width: this.frame.clientWidth, height: HEIGHT });
      this.plot.setData([seconds, views, passing]);
    }
    this.fill(model);
  }

  private fill(model: Model): void {
    if (!this.body.closest("details")?.open) return;
    const newestFirst = [...model.tail().slice(-1), ...model.finals().reverse()];
    rows(this.body, newestFirst, () => el("tr", {}, ...Array.from({ length: 8 }, () => el("td"))), (row, sample) => {
      const totals = sample.totals;
      const cells = [clock(sample.end), count(totals?.view_count), count(totals?.unique_users), count(totals?.click_count), count(totals?.conversion_count), percent(totals?.engagement_rate), percent(totals?.bounce_rate), sample.provisional ? "provisional" : "final"];
      cells.forEach((text, index) => say(row.children[index] as Element, text));
      row.classList.toggle("provisional", sample.provisional);
    });
  }

  private make(): uPlot {
    const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") }, font: "12px system-ui" };
    const line = { stroke: color("--accent"), width: 2, points: { show: false } };
    const utc = (stamp: number) => uPlot.tzDate(new Date(stamp * 1_000), "Etc/UTC");
    return new uPlot(
      {
        width: this.frame.clientWidth || 600,
        height: HEIGHT,
        tzDate: utc,
        cursor: { drag: { x: false, y: false }, y: false },
        legend: { show: true },
        scales: {
          x: { range: (_, __, max) => [max - SHOWN / 1_000, max] },
          y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
        },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => clock(tick * 1_000).slice(0, 5)) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : "")) }],
        series: [
          { label: "end (UTC)", value: (_, value) => (value === null ? "–" : clock(value * 1_000)) },
          { ...line, label: "views", value: (_, value) => count(value), fill: color("--wash") },
          { ...line, label: "provisional", dash: [4, 4], value: (_, value) => count(value) },
        ],
        hooks: { drawAxes: [(plot) => this.hatch(plot, color("--hatch"))] },
      },
      [[], [], []],
      this.frame,
    );
  }

  private hatch(plot: uPlot, color: string): void {
    if (this.provisionalFrom === null) return;
    const { ctx, bbox } = plot;
    const left = Math.max(bbox.left, plot.valToPos(this.provisionalFrom, "x", true));
    const right = bbox.left + bbox.width;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, right - left, bbox.height);
    ctx.clip();
    ctx.strokeStyle = color;
    ctx.lineWidth = devicePixelRatio;
    const step = 7 * devicePixelRatio;
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += step) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
  }
}
