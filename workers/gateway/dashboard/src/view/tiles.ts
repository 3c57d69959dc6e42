// Six values, each with its source: the open window (provisional) or the newest sealed one (final).

import type { Counts, Totals } from "../api";
import { el, rows, setText, svg, byId } from "../dom";
import { NONE, clock, count, decimal, percent, span } from "../format";
import type { Model, Sample } from "../model";

interface Tile {
  name: string;
  title: string;
  now?: (now: Counts, minutes: number) => string;
  final: (totals: Totals, minutes: number) => string;
  line: (totals: Totals, minutes: number) => number | null;
}

/** Minimum time for which a rate is shown, minutes: a slide by default. */
const MIN_RATE_MINUTES = 1 / 6;
/** Minimum time between two summaries for a screen reader: more would talk without end. */
const SUMMARY_INTERVAL_MS = 30_000;

const VISITS: Tile = {
  name: "Visits",
  title: "Visits with an event in the newest sealed window",
  final: (totals) => count(totals.visits),
  line: (totals) => totals.visits ?? null,
};

/** Replaces the visits where one page is shown: their number is not known per page. */
const DURATION: Tile = {
  name: "Visit duration",
  title: "Mean duration of the visits that came to the page, in the newest sealed window",
  final: (totals) => span(totals.avg_session_duration),
  line: (totals) => totals.avg_session_duration ?? null,
};

const TILES: Tile[] = [
  {
    name: "Active now",
    title: "Distinct visitors with an event in the open window",
    now: (now) => count(now.unique_users),
    final: (totals) => count(totals.unique_users),
    line: (totals) => totals.unique_users,
  },
  {
    name: "Views per minute",
    title: "VIEW events in the window, by the minutes of it that lie after the first event",
    now: (now, minutes) => (minutes < MIN_RATE_MINUTES ? NONE : decimal(now.view_count / minutes)),
    final: (totals, minutes) => (minutes < MIN_RATE_MINUTES ? NONE : decimal(totals.view_count / minutes)),
    line: (totals, minutes) => totals.view_count / minutes,
  },
  VISITS,
  {
    name: "Engagement",
    title: "Clicks per view",
    now: (now) => (now.view_count > 0 ? percent(now.click_count / now.view_count) : percent(0)),
    final: (totals) => percent(totals.engagement_rate),
    line: (totals) => totals.engagement_rate,
  },
  {
    name: "Bounce rate",
    title: "Share of visits that had exactly one event, anywhere, by the window's end",
    final: (totals) => percent(totals.bounce_rate),
    line: (totals) => totals.bounce_rate,
  },
  {
    name: "Conversions",
    title: "PURCHASE events in the window",
    now: (now) => count(now.conversion_count),
    final: (totals) => count(totals.conversion_count),
    line: (totals) => totals.conversion_count,
  },
];

export function tiles(model: Model): void {
  const finals = model.finals();
  const shown = TILES.map((tile) => (tile === VISITS && model.chosen !== null ? DURATION : tile));
  const latest = finals[finals.length - 1];
  const now = model.now();
  const open = { filling: model.site.filling ?? false, minutes: (model.site.covered_ms ?? 0) / 60_000 };
  const texts: string[] = [];
  rows(byId("tiles"), shown, make, (element, tile) => {
    const [name, value, from, line] = element.children as unknown as [Element, Element, Element, SVGElement];
    const live = tile.now && now !== undefined;
    element.title = tile.title;
    element.classList.toggle("provisional", !!live);
    element.classList.toggle("stale", model.stale());
    setText(name, tile.name);
    const text = live && tile.now ? tile.now(now, open.minutes) : latest?.totals ? tile.final(latest.totals, latest.minutes) : NONE;
    setText(value, text);
    texts.push(`${tile.name} ${text}`);
    const { filling, minutes } = live ? open : (latest ?? open);
    const part = filling ? `, first ${span(60 * minutes)}` : "";
    setText(from, live ? (model.stale() ? "provisional, not updated" : `provisional${part}`) : latest ? `final at ${clock(latest.end)}${part}` : "no data yet");
    sparkline(line, finals, model.pipeline?.window_slide_ms ?? 10_000, tile);
  });
  summarize(texts.join(", "));
}

let summarized = -SUMMARY_INTERVAL_MS;
function summarize(texts: string): void {
  if (performance.now() - summarized < SUMMARY_INTERVAL_MS) return;
  summarized = performance.now();
  setText(byId("summary"), texts);
}

function make(): HTMLElement {
  const line = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path"));
  return el("div", { class: "tile" }, el("p"), el("b"), el("small"), line as unknown as Node);
}

/** Whole windows by time: no line is drawn across windows without any event. */
function sparkline(element: SVGElement, finals: Sample[], slide: number, tile: Tile): void {
  const values = finals.flatMap(({ end, totals, filling, minutes }) => {
    const value = totals && !filling ? tile.line(totals, minutes) : null;
    return value === null ? [] : [{ end, value }];
  });
  const known = values.map(({ value }) => value);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [first, last] = [values[0]?.end ?? 0, values[values.length - 1]?.end ?? 0];
  const points = values.map(({ end, value }, index) => {
    const x = last > first ? (100 * (end - first)) / (last - first) : 0;
    const y = high > low ? 22 - (20 * (value - low)) / (high - low) : 12;
    const before = values[index - 1];
    return `${before && end - before.end <= slide ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`;
  });
  element.firstElementChild?.setAttribute("d", points.join(""));
}
