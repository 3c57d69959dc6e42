// All pages of a sealed window: search, sorting, paging. The first page shows the newest window; the following ones stay in the window
// of the first, or rows would be repeated or skipped.

import { Failure, type PageNumbers, ask } from "../api";
import { el, line, rows, setText, stack, byId } from "../dom";
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
  /** The window that is paged through; the newest if undefined. */
  window: number | undefined;
}

export const FIRST: Asked = { q: "", sort: "view_count", order: "desc", offset: 0, window: undefined };
const ROWS_PER_PAGE = 20;
/** As many as one answer holds. */
const MAX_CSV_ROWS = 1_000;
const COLUMNS: [string, string][] = [
  ["page_url", "Page"],
  ["view_count", "Views"],
  ["unique_users", "Users"],
  ["click_count", "Clicks"],
  ["conversion_count", "Conversions"],
  ["engagement_rate", "Engagement"],
  ["bounce_rate", "Bounce rate"],
  ["avg_session_duration", "Visit duration"],
];

export class Pages {
  asked: Asked = { ...FIRST };
  chosen: string | null = null;
  private readonly body = el("tbody", { id: "all-pages" });
  private readonly note = el("p", { class: "note" });
  private readonly heads: HTMLElement[];
  private readonly previous = el("button", { type: "button", click: () => this.turnPage(-ROWS_PER_PAGE) }, "Previous");
  private readonly next = el("button", { type: "button", click: () => this.turnPage(ROWS_PER_PAGE) }, "Next");
  private readonly newest = el("button", { type: "button", hidden: true, click: () => this.showNewest() }, "Newest window");
  private readonly csv = el("a", { download: "pages.csv" }, "CSV");
  private running = 0;
  private end: number | undefined;
  /** A notice before the note: a requested sort column that does not exist. */
  private notice = "";

  constructor(private readonly choose: (url: string) => void, private readonly changed: () => void) {
    this.heads = COLUMNS.map(([name, title], index) =>
      el("th", { scope: "col", class: index > 0 ? "number" : null }, el("button", { type: "button", click: () => this.sort(name) }, title)),
    );
    byId("all").append(el("div", { class: "scroll" }, stack(this.heads, this.body)), this.note, el("p", {}, this.previous, " ", this.next, " ", this.newest, " ", this.csv));
  }

  search(q: string): void {
    this.asked = { ...this.asked, q, offset: 0, window: undefined };
    this.changed();
    void this.load(true);
  }

  private sort(name: string): void {
    const first = name === "page_url" ? "asc" : "desc";
    const order = this.asked.sort !== name ? first : this.asked.order === "asc" ? "desc" : "asc";
    this.asked = { ...this.asked, sort: name, order, offset: 0, window: undefined };
    this.changed();
    void this.load(true);
  }

  private turnPage(by: number): void {
    const offset = Math.max(0, this.asked.offset + by);
    this.asked = { ...this.asked, offset, window: offset > 0 ? this.end : undefined };
    void this.load(true);
  }

  private showNewest(): void {
    this.asked = { ...this.asked, offset: 0, window: undefined };
    void this.load(true);
  }

  /** Restores search and order from a URL; an unknown sort column is replaced, with a notice. */
  recall(parameters: URLSearchParams): void {
    const asked = parameters.get("sort") ?? FIRST.sort;
    const known = COLUMNS.some(([name]) => name === asked);
    this.notice = known ? "" : `There is no column “${asked.slice(0, 40)}” to sort by; sorted by views. `;
    const order = parameters.get("order") === "asc" ? "asc" : "desc";
    this.asked = { ...FIRST, q: parameters.get("q") ?? "", sort: known ? asked : FIRST.sort, order: known ? order : FIRST.order };
  }

  /** A window was sealed: the first page follows, the others stay in their window and offer the newest. */
  sealed(): void {
    if (this.asked.offset === 0) void this.load();
    else this.newest.hidden = false;
  }

  /** Announced to screen readers only on a user's request: it changes with every window. */
  async load(asked = false): Promise<void> {
    const run = ++this.running;
    const { q, sort, order, offset, window } = this.asked;
    if (asked) this.notice = "";
    try {
      const answer = await ask<Answer>("pages", { q: q || undefined, sort, order, offset, window, limit: ROWS_PER_PAGE });
      // An older answer may come after a newer one.
      if (run !== this.running) return;
      this.draw(answer);
      if (asked) setText(byId("announcer"), this.note.textContent ?? "");
    } catch (error) {
      if (run !== this.running || !(error instanceof Failure)) return;
      if (error.status === 404 && window !== undefined) this.showNewest();
      else setText(this.note, error.status === 404 ? "No data yet: no window is sealed." : error.message);
    }
  }

  private draw({ window_end: end, total, pages }: Answer): void {
    const { q, sort, order, offset, window } = this.asked;
    this.end = end;
    this.newest.hidden = window === undefined || this.newest.hidden;
    // All that match, not only those shown here, and of the window that is shown.
    const query = new URLSearchParams({ ...(q && { q }), sort, order, window: String(end), limit: String(MAX_CSV_ROWS), format: "csv" });
    setText(this.csv, total > MAX_CSV_ROWS ? `CSV (first ${count(MAX_CSV_ROWS)})` : "CSV");
    this.csv.setAttribute("href", `/api/v1/pages?${query}`);
    this.heads.forEach((head, index) => {
      const sorted = COLUMNS[index]?.[0] === sort;
      head.setAttribute("aria-sort", sorted ? (order === "asc" ? "ascending" : "descending") : "none");
    });
    const make = () => line(COLUMNS.map(([, title]) => title), el("button", { type: "button", class: "page", click: (event) => this.choose((event.currentTarget as HTMLElement).title) }));
    rows(this.body, pages, make, (row, page) => {
      button(row, page.page_url, this.chosen === page.page_url);
      const cells = [count(page.view_count), count(page.unique_users), count(page.click_count), count(page.conversion_count), percent(page.engagement_rate), percent(page.bounce_rate), span(page.avg_session_duration)];
      cells.forEach((text, index) => setText(row.children[index + 1] as Element, text));
    });
    const found = q ? ` that contain “${q}”` : "";
    const held = window === undefined ? "" : " It stays while you leaf.";
    setText(this.note, `${this.notice}${total === 0 ? "No pages" : `${offset + 1} to ${Math.min(offset + ROWS_PER_PAGE, total)} of ${count(total)} pages`}${found}, final, window ending ${clock(end)} UTC.${held}`);
    this.previous.disabled = offset === 0;
    this.next.disabled = offset + ROWS_PER_PAGE >= total;
  }
}
