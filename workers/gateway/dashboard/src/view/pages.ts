// Every page of the newest sealed window: searched, ordered, leafed through.

import { Failure, type PageNumbers, ask } from "../api";
import { el, rows, say, the } from "../dom";
import { clock, count, percent, span } from "../format";
import { button } from "./ranking";

interface Answer {
  window_end: number;
  total: number;
  pages: PageNumbers[];
}

export interface Asked {
  q: string;
  sort: string;
  order: "asc" | "desc";
  offset: number;
}

export const FIRST: Asked = { q: "", sort: "view_count", order: "desc", offset: 0 };
const LIMIT = 20;
const COLUMNS: [string, string][] = [
  ["page_url", "Page"],
  ["view_count", "Views"],
  ["unique_users", "Users"],
  ["click_count", "Clicks"],
  ["conversion_count", "Conversions"],
  ["engagement_rate", "Engagement"],
  ["bounce_rate", "Bounce rate"],
  ["avg_session_duration", "Visit"],
];

export class Pages {
  asked: Asked = { ...FIRST };
  chosen: string | null = null;
  private readonly body = el("tbody", { id: "all-pages" });
  private readonly note = el("p", { class: "note", role: "status" });
  private readonly heads: HTMLElement[];
  private readonly back = el("button", { type: "button", click: () => this.leaf(-LIMIT) }, "Previous");
  private readonly forth = el("button", { type: "button", click: () => this.leaf(LIMIT) }, "Next");
  private running = 0;

  constructor(private readonly choose: (url: string) => void, private readonly changed: () => void) {
    this.heads = COLUMNS.map(([name, title], index) =>
      el("th", { scope: "col", class: index > 0 ? "number" : null }, el("button", { type: "button", click: () => this.sort(name) }, title)),
    );
    const csv = el("a", { href: "/api/v1/pages?format=csv&limit=1000", download: "pages.csv" }, "CSV");
    the("all").append(el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ...this.heads)), this.body)), this.note, el("p", {}, this.back, " ", this.forth, " ", csv));
  }

  search(q: string): void {
    this.asked = { ...this.asked, q, offset: 0 };
    this.changed();
    void this.load();
  }

  private sort(name: string): void {
    const first = name === "page_url" ? "asc" : "desc";
    const order = this.asked.sort !== name ? first : this.asked.order === "asc" ? "desc" : "asc";
    this.asked = { ...this.asked, sort: name, order, offset: 0 };
    this.changed();
    void this.load();
  }

  private leaf(by: number): void {
    this.asked = { ...this.asked, offset: Math.max(0, this.asked.offset + by) };
    void this.load();
  }

  async load(): Promise<void> {
    const run = ++this.running;
    const { q, sort, order, offset } = this.asked;
    try {
      const answer = await ask<Answer>("pages", { q: q || undefined, sort, order, offset, limit: LIMIT });
      // An older answer may come after a newer one.
      if (run === this.running) this.draw(answer);
    } catch (error) {
      if (run === this.running && error instanceof Failure) say(this.note, error.status === 404 ? "No data yet: no window is sealed." : error.message);
    }
  }

  private draw({ window_end: end, total, pages }: Answer): void {
    const { q, sort, order, offset } = this.asked;
    this.heads.forEach((head, index) => {
      const sorted = COLUMNS[index]?.[0] === sort;
      head.setAttribute("aria-sort", sorted ? (order === "asc" ? "ascending" : "descending") : "none");
    });
    const make = () => el("tr", {}, el("td", {}, el("button", { type: "button", class: "page", click: (event) => this.choose((event.currentTarget as HTMLElement).title) })), ...COLUMNS.slice(1).map(() => el("td", { class: "number" })));
    rows(this.body, pages, make, (row, page) => {
      button(row, page.page_url, this.chosen === page.page_url);
      const cells = [count(page.view_count), count(page.unique_users), count(page.click_count), count(page.conversion_count), percent(page.engagement_rate), percent(page.bounce_rate), span(page.avg_session_duration)];
      cells.forEach((text, index) => say(row.children[index + 1] as Element, text));
    });
    const found = q ? ` that contain “${q}”` : "";
    say(this.note, `${total === 0 ? "No pages" : `${offset + 1} to ${Math.min(offset + LIMIT, total)} of ${count(total)} pages`}${found}, final, window ending ${clock(end)} UTC.`);
    this.back.disabled = offset === 0;
    this.forth.disabled = offset + LIMIT >= total;
  }
}
