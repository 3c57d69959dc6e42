// Six figures, each with where it came from: the open window (provisional) or the newest sealed one (final).

import type { Counts, Totals } from "../api";
import { el, rows, say, svg, the } from "../dom";
import { NONE, clock, count, decimal, percent } from "../format";
import type { Model } from "../model";

interface Tile {
  name: string;
  title: string;
  now?: (now: Counts, minutes: number) => string;
  final: (totals: Totals, minutes: number) => string;
  line: (totals: Totals, minutes: number) => number | null;
}

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
    title: "VIEW events in the window, by its length in minutes",
    now: (now, minutes) => decimal(now.view_count / minutes),
    final: (totals, minutes) => decimal(totals.view_count / minutes),
    line: (totals, minutes) => totals.view_count / minutes,
  },
  {
    name: "Users",
    title: "Exact number of distinct visitors in the newest sealed window",
    final: (totals) => count(totals.unique_users),
    line: (totals) => totals.unique_users,
  },
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
  const minutes = (model.pipeline?.window_size_ms ?? 300_000) / 60_000;
  const finals = model.finals();
  const latest = finals[finals.length - 1];
  const now = model.now();
  rows(the("tiles"), TILES, make, (element, tile) => {
    const [name, value, from, line] = element.children as unknown as [Element, Element, Element, SVGElement];
    const live = tile.now && now !== undefined;
    element.title = tile.title;
    element.classList.toggle("provisional", !!live);
    element.classList.toggle("stale", model.stale());
    say(name, tile.name);
    if (live && tile.now) say(value, tile.now(now, minutes));
    else say(value, latest?.totals ? tile.final(latest.totals, minutes) : NONE);
    say(from, live ? (model.stale() ? "provisional, standing still" : "provisional") : latest ? `final at ${clock(latest.end)}` : "no data yet");
    sparkline(line, finals.map((sample) => (sample.totals ? tile.line(sample.totals, minutes) : null)));
  });
}

function make(): HTMLElement {
  const line = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polyline"));
  return el("div", { class: "tile" }, el("p"), el("output"), el("small"), line as unknown as Node);
}

function sparkline(element: SVGElement, values: (number | null)[]): void {
  const known = values.filter((value): value is number => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const points = values.flatMap((value, index) => {
    if (value === null || values.length < 2) return [];
    const y = high > low ? 22 - (20 * (value - low)) / (high - low) : 12;
    return [`${((100 * index) / (values.length - 1)).toFixed(1)},${y.toFixed(1)}`];
  });
  element.firstElementChild?.setAttribute("points", points.join(" "));
}
