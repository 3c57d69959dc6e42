// Views over the last 30 minutes: final windows as a line, those that begin before the first event apart, the provisional end dashed and
// hatched. No line across windows without any event. The same as a table.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { el, line, rows, setText, stack, byId } from "../dom";
import { clock, count, percent } from "../format";
import { type Model, type Sample, CHART_SPAN_MS } from "../model";

const HEIGHT = 240;
const HEAD = ["Window's end (UTC)", "Views", "Users", "Clicks", "Conversions", "Engagement", "Bounce rate", "State"];
/** How much later than its end and the wait for events out of order a window may be sealed, milliseconds. */
const MAX_SEALING_DELAY_MS = 60_000;

export class Chart {
  private plot: uPlot | null = null;
  private readonly frame = el("div", { class: "plot", role: "img", "aria-label": "Views over time; the table below has the numbers" });
  private readonly note = el("p", { class: "note" });
  private readonly body = el("tbody");
  private provisionalFrom: number | null = null;

  constructor() {
    const table = stack(HEAD.map((title, index) => el("th", { scope: "col", class: index > 0 ? "number" : null }, title)), this.body);
    byId("series").append(this.frame, this.note, el("details", {}, el("summary", {}, "Show as a table"), el("div", { class: "scroll windows", tabindex: 0, role: "region", "aria-label": "Windows, newest first" }, table)));
    new ResizeObserver(() => this.plot?.setSize({ width: this.frame.clientWidth, height: HEIGHT })).observe(this.frame);
  }

  /** Colours come from the style sheet, so a new theme needs a new plot. */
  recolor(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  draw(model: Model): void {
    const finals = model.finals();
    const tail = model.tail();
    const last = finals[finals.length - 1];
    const slide = model.pipeline?.window_slide_ms ?? 10_000;
    const samples = gapped([...finals, ...tail], slide, (model.pipeline?.out_of_orderness_ms ?? 30_000) + MAX_SEALING_DELAY_MS);
    const seconds = samples.map((sample) => sample.end / 1_000);
    const those = (which: (sample: Sample) => boolean) => samples.map((sample) => (which(sample) ? (sample.totals?.view_count ?? null) : null));
    const whole = finals.find((sample) => !sample.filling);
    const views = those((sample) => !sample.provisional && !sample.filling);
    // Each line begins where the one before it ends.
    const filling = those((sample) => !sample.provisional && (sample.filling || (sample === whole && sample !== finals[0])));
    const passing = those((sample) => sample.provisional || sample === last);
    this.provisionalFrom = tail.length > 0 && last ? last.end / 1_000 : null;
    const parts = ["Each point is a whole window."];
    if (tail.length > 0) parts.push("Hatched: provisional, replaced when the window is sealed.");
    if (finals.some((sample) => sample.filling)) parts.push("Dotted: filling, the window begins before the first event.");
    if (samples.length > finals.length + tail.length) parts.push("Gaps: windows without any event.");
    setText(this.note, samples.length === 0 ? "No data yet: the first window is sealed some 40 seconds after the first event." : parts.join(" "));
    this.frame.classList.toggle("stale", model.stale());
    this.frame.hidden = samples.length === 0;
    if (samples.length > 0) {
      this.plot ??= this.make();
      if (this.plot.width !== this.frame.clientWidth && this.frame.clientWidth > 0) this.plot.setSize({ width: this.frame.clientWidth, height: HEIGHT });
      this.plot.setData([seconds, views, filling, passing]);
    }
    this.fill(model);
  }

  private fill(model: Model): void {
    if (!this.body.closest("details")?.open) return;
    const newestFirst = [...model.tail().slice(-1), ...model.finals().reverse()];
    rows(this.body, newestFirst, () => line(HEAD), (row, sample) => {
      const totals = sample.totals;
      const cells = [clock(sample.end), count(totals?.view_count), count(totals?.unique_users), count(totals?.click_count), count(totals?.conversion_count), percent(totals?.engagement_rate), percent(totals?.bounce_rate), `${sample.provisional ? "provisional" : "final"}${sample.filling ? ", filling" : ""}`];
      cells.forEach((text, index) => setText(row.children[index] as Element, text));
      row.classList.toggle("provisional", sample.provisional);
    });
  }

  private make(): uPlot {
    const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = { stroke: color("--muted"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") }, font: "12px system-ui" };
    const drawn = { stroke: color("--accent"), width: 2, points: { show: false } };
    const utc = (stamp: number) => uPlot.tzDate(new Date(stamp * 1_000), "Etc/UTC");
    return new uPlot(
      {
        width: this.frame.clientWidth || 600,
        height: HEIGHT,
        tzDate: utc,
        cursor: { drag: { x: false, y: false }, y: false },
        legend: { show: true },
        scales: {
          x: { range: (_, __, max) => [max - CHART_SPAN_MS / 1_000, max] },
          y: { range: (_, __, max) => [0, Math.max(1, max * 1.1)] },
        },
        axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => clock(tick * 1_000).slice(0, 5)) }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? count(tick) : "")) }],
        series: [
          { label: "end (UTC)", value: (_, value) => (value === null ? "–" : clock(value * 1_000)) },
          { ...drawn, label: "views", value: (_, value) => count(value), fill: color("--wash") },
          { ...drawn, label: "filling", stroke: color("--muted"), dash: [2, 4], value: (_, value) => count(value) },
          { ...drawn, label: "provisional", dash: [4, 4], value: (_, value) => count(value) },
        ],
        hooks: { drawAxes: [(plot) => this.hatch(plot, color("--hatch"))] },
      },
      [[], [], [], []],
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

/** The samples with an empty one wherever windows are missing: those had no event. */
function gapped(samples: Sample[], slide: number, sealing: number): Sample[] {
  return samples.flatMap((sample, index) => {
    const before = samples[index - 1];
    // Provisional samples have no fixed interval; between the newest final and the first of them windows are still to be sealed.
    const allowed = !sample.provisional ? slide : before?.provisional ? Number.POSITIVE_INFINITY : sealing + slide;
    if (!before || sample.end - before.end <= allowed) return [sample];
    return [{ ...sample, end: before.end + slide / 2, totals: null }, sample];
  });
}
