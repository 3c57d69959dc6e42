// The dashboard: received values go into the model, which is rendered at most four times a second.

import "./style.css";
import { type Health, type PageNow, type PipelineInfo, type RankEntry, type Point, type Sealed, type SiteNow, type TopNow, Failure, type Trend, type WindowTotals, ask } from "./api";
import { Connection } from "./connection";
import { el, setText, byId } from "./dom";
import { Model } from "./model";
import { Chart } from "./view/chart";
import { Funnel } from "./view/funnel";
import { Log } from "./view/log";
import { theme } from "./theme";
import { FIRST, Pages } from "./view/pages";
import { Ranking } from "./view/ranking";
import { strip } from "./view/strip";
import { tiles } from "./view/tiles";

const model = new Model();
const chart = new Chart();
const ranking = new Ranking((url) => choose(url));
const funnel = new Funnel();
const log = new Log(model);
const pages = new Pages((url) => choose(url), () => remember("replace"));
const finder = byId("find") as HTMLInputElement;

let due = false;
function redraw(): void {
  if (due) return;
  due = true;
  setTimeout(() => {
    due = false;
    draw();
  }, 200);
}

function draw(): void {
  strip(model);
  tiles(model);
  chart.draw(model);
  ranking.draw(model);
  funnel.draw(model);
}

/** Filters everything by a page; choosing the chosen page again removes the filter. */
function choose(url: string | null): void {
  const chosen = url === model.chosen ? null : url;
  select(chosen);
  remember("push");
  setText(byId("announcer"), chosen === null ? "All pages are shown" : `Only ${chosen} is shown`);
}

function select(url: string | null): void {
  model.chosen = url;
  pages.chosen = url;
  model.clear();
  // A path may be that of a page on any host: the gateway resolves it first.
  connection.watch(url?.startsWith("/") ? null : url);
  filtered();
  setText(byId("series-title"), url === null ? "Views, last 30 minutes" : "Views of this page, last 30 minutes");
  log.draw();
  void history();
  void pages.load();
  draw();
}

/** Shows the filter, and the problem with it. */
function filtered(): void {
  const { chosen, unknown } = model;
  const filter = byId("filter");
  filter.hidden = chosen === null;
  const leave = el("button", { type: "button", click: () => choose(null) }, "Show all pages (Esc)");
  filter.replaceChildren(...(chosen === null ? [] : ["Only ", el("b", {}, chosen), " ", leave, unknown && el("span", { class: "warn" }, ` ${unknown}`)].filter(Boolean)));
}

/** The sealed windows of the last half hour: of the chosen page, or the site. */
async function history(): Promise<void> {
  const chosen = model.chosen;
  try {
    const limit = 180;
    if (chosen === null) {
      const { windows } = await ask<{ windows: WindowTotals[] }>("windows", { limit });
      if (model.chosen === null) model.windows(windows);
    } else {
      const { page_url: url, points } = await ask<{ page_url: string; points: Point[] }>("series", { page: chosen, limit });
      if (model.chosen !== chosen) return;
      if (url !== chosen) {
        select(url);
        remember("replace");
        return;
      }
      connection.watch(url);
      model.points(points);
      model.unknown = "";
      filtered();
    }
  } catch (error) {
    // Nothing is sealed yet: the chart shows that there is no data.
    if (chosen !== null && model.chosen === chosen && error instanceof Failure) {
      // The page may still get events, or be in the open window.
      connection.watch(chosen);
      model.unknown = error.message;
      filtered();
    }
  }
  redraw();
}

async function rankings(): Promise<void> {
  try {
    const [top, trending] = await Promise.all([ask<{ window_end: number; pages: RankEntry[] }>("top"), ask<{ warming_up: boolean; pages: Trend[] }>("trending")]);
    if ((model.sealedEnd ?? 0) <= top.window_end) {
      model.sealedEnd = top.window_end;
      model.ranking = top.pages;
      model.trends = trending.pages;
      model.warmingUp = trending.warming_up;
    }
  } catch {
    // Nothing is sealed yet.
  }
  redraw();
}

const connection = new Connection({
  value(topic, page, value) {
    if (topic === "site") {
      model.site = value as SiteNow;
      if (model.chosen === null) model.pass(model.site.now);
    } else if (topic === "top") model.top = value as TopNow;
    else if (topic === "health") model.health = value as Health;
    else if (topic === "page" && page === model.chosen) {
      model.page = value as PageNow;
      // An unknown page has no values, not zeros.
      if (model.page.sealed && model.page.known) model.points([model.page.sealed]);
      model.pass(model.page.now);
    } else if (topic === "sealed") {
      model.take(value as Sealed);
      pages.sealed();
      if (model.unknown) void history();
    }
    redraw();
  },
  state(connected, why) {
    model.connected = connected;
    model.why = why;
    if (connected) {
      void history();
      void rankings();
      void pages.load();
    }
    redraw();
  },
  after: () => model.sealedEnd,
  clock(offset) {
    model.offset = offset;
  },
});

/** Keeps the selection in the URL, so that it can be bookmarked and shared. */
function remember(how: "push" | "replace"): void {
  const parameters = new URLSearchParams();
  if (model.chosen !== null) parameters.set("page", model.chosen);
  const { q, sort, order } = pages.asked;
  if (q) parameters.set("q", q);
  if (sort !== FIRST.sort) parameters.set("sort", sort);
  if (order !== FIRST.order) parameters.set("order", order);
  const text = parameters.toString();
  window.history[how === "push" ? "pushState" : "replaceState"](null, "", text ? `/?${text}` : "/");
}

function recall(): void {
  const parameters = new URLSearchParams(location.search);
  pages.recall(parameters);
  finder.value = pages.asked.q;
  select(parameters.get("page"));
}

theme(() => {
  chart.recolor();
  redraw();
});
byId("series").querySelector("details")?.addEventListener("toggle", () => draw());
byId("finder").addEventListener("submit", (event) => event.preventDefault());
let typing = 0;
finder.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => pages.search(finder.value.trim()), 200);
});
addEventListener("popstate", recall);
addEventListener("keydown", (event) => {
  const inField = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !inField) {
    event.preventDefault();
    finder.focus();
  } else if (event.key === "Escape" && model.chosen !== null && !(inField && finder.value)) choose(null);
});
setInterval(redraw, 1_000);
recall();
void ask<{ pipelines: PipelineInfo[] }>("pipelines").then(({ pipelines }) => {
  model.pipeline = pipelines[0] ?? null;
  setText(byId("pipeline"), model.pipeline?.name ?? "");
  document.title = `Weir: ${model.pipeline?.name ?? ""}`;
  redraw();
});
