// The most viewed pages, and the trending ones.

import { el, rows, setText, byId } from "../dom";
import { trendReason, clock, count, short } from "../format";
import type { Model } from "../model";

interface Line {
  url: string;
  rank: number;
  change: string;
  sense: "up" | "down" | "";
  final: number | null;
  now: number | null;
}

export class Ranking {
  private readonly body = el("tbody");
  private readonly note = el("p", { class: "note" });
  private readonly trends = el("ol", { class: "trends" });
  private readonly trendNote = el("p", { class: "note" });

  constructor(private readonly choose: (url: string) => void) {
    const head = el("tr", {}, el("th", { scope: "col" }, "#"), el("th", { scope: "col" }, el("span", { class: "hidden" }, "change")), el("th", { scope: "col" }, "Page"), el("th", { scope: "col", class: "number" }, "Views"), el("th", { scope: "col", class: "number" }, "Now"));
    byId("top").append(el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), this.body)), this.note);
    byId("trending").append(this.trends, this.trendNote);
  }

  draw(model: Model): void {
    this.top(model);
    this.trending(model);
  }

  private top(model: Model): void {
    const lines = ranked(model);
    const most = Math.max(1, ...lines.map((line) => line.final ?? line.now ?? 0));
    rows(this.body, lines, () => this.make(), (row, line) => {
      const [rank, change, page, final, now] = row.children as unknown as [Element, Element, HTMLElement, Element, Element];
      setText(rank, String(line.rank));
      setText(change, line.change);
      change.className = line.sense;
      button(page, line.url, model.chosen === line.url);
      bar(page, (line.final ?? line.now ?? 0) / most);
      setText(final, count(line.final));
      setText(now, count(line.now));
    });
    byId("top").classList.toggle("stale", model.stale());
    setText(this.note, lines.length === 0 ? "No data yet." : model.ranking.length === 0 ? "No window is sealed yet: the order is provisional." : `Views: final, window ending ${clock(model.sealedEnd)} UTC. Now: provisional.`);
  }

  private trending(model: Model): void {
    rows(this.trends, model.trends, () => el("li", {}, this.button(), " ", el("span")), (item, trend) => {
      button(item, trend.page_url, model.chosen === trend.page_url);
      setText(item.lastElementChild as Element, trendReason(trend.view_count, trend.expected));
    });
    const quiet = model.sealedEnd === undefined ? "No data yet." : model.warmingUp ? "Warming up: trends need two earlier windows to compare with." : "Nothing has clearly more views than usual.";
    setText(this.trendNote, model.trends.length > 0 ? `Views against what is usual for the page, window ending ${clock(model.sealedEnd)} UTC.` : quiet);
  }

  private make(): HTMLElement {
    return el("tr", {}, el("td"), el("td"), el("td", { class: "page" }, el("i", { class: "bar" }), this.button()), el("td", { class: "number" }), el("td", { class: "number provisional" }));
  }

  private button(): HTMLElement {
    return el("button", { type: "button", class: "page", click: (event) => this.choose((event.currentTarget as HTMLElement).title) });
  }
}

/** The sealed ranking with the provisional views beside; before any is sealed, the provisional one. */
function ranked(model: Model): Line[] {
  const { pages } = model.top;
  if (model.ranking.length > 0) {
    return model.ranking.map((entry) => {
      const before = entry.previous_rank;
      const moved = before === null ? 0 : before - entry.rank;
      const change = before === null ? "new" : moved > 0 ? `▲${moved}` : moved < 0 ? `▼${-moved}` : "=";
      const sense = before === null || moved > 0 ? "up" : moved < 0 ? "down" : "";
      return { url: entry.page_url, rank: entry.rank, change, sense, final: entry.view_count, now: pages[entry.page_url]?.now.view_count ?? null };
    });
  }
  const live = Object.entries(pages).sort((a, b) => a[1].rank - b[1].rank);
  return live.slice(0, model.pipeline?.ranking_top ?? 10).map(([url, { rank, now }]) => ({ url, rank, change: "", sense: "", final: null, now: now.view_count }));
}

/** Labels the button within `parent` with the page. */
export function button(parent: HTMLElement, url: string, chosen: boolean): void {
  const found = parent.querySelector("button");
  if (!found) return;
  setText(found, short(url));
  found.title = url;
  found.setAttribute("aria-pressed", String(chosen));
}

export function bar(parent: HTMLElement, share: number): void {
  const found = parent.querySelector<HTMLElement>(".bar");
  if (found) found.style.width = `${(100 * share).toFixed(1)}%`;
}
