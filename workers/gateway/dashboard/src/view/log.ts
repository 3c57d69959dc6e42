// A live sample of events, with a pause button.

import { type SampledEvent, ask } from "../api";
import { el, setText, byId } from "../dom";
import { clock, short } from "../format";
import type { Model } from "../model";

const MAX_SHOWN_EVENTS = 60;

/** The kind, and the site's own name for it if it has one. */
function what({ event_type, event_name }: SampledEvent): string {
  const kind = event_type.replaceAll("_", " ").toLowerCase();
  return event_name ? `${kind}: ${short(event_name)}` : kind;
}

export class Log {
  private readonly body = el("tbody");
  private readonly pause = el("button", { type: "button", "aria-pressed": "false", click: () => this.toggle() }, "Pause");
  private readonly note = el("p", { class: "note" });
  private paused = false;
  private instance = "";
  private last = 0;
  private events: SampledEvent[] = [];

  constructor(private readonly model: Model) {
    const head = ["Time", "What", "Page", "Visitor"].map((title) => el("th", { scope: "col" }, title));
    const table = el("table", { class: "log" }, el("thead", {}, el("tr", {}, ...head)), this.body);
    byId("log").append(el("div", { class: "scroll log", tabindex: 0, role: "region", "aria-label": "Sampled events, newest first" }, table), this.note);
    byId("log").firstElementChild?.append(this.pause);
    setInterval(() => void this.poll(), 1_000);
  }

  private toggle(): void {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    setText(this.pause, this.paused ? "Resume" : "Pause");
  }

  private async poll(): Promise<void> {
    if (this.paused || document.hidden || !this.model.connected) return;
    try {
      const { instance, events } = await ask<{ instance: string; events: SampledEvent[] }>("events", { after: this.last, limit: MAX_SHOWN_EVENTS });
      // Another gateway process numbers its events from the start.
      if (instance !== this.instance) {
        const known = this.instance !== "";
        this.instance = instance;
        this.last = 0;
        this.events = [];
        if (known) return;
      }
      this.events = [...this.events, ...events].slice(-MAX_SHOWN_EVENTS);
      this.last = events[events.length - 1]?.number ?? this.last;
    } catch {
      // The status strip shows that the gateway is unreachable.
    }
    this.draw();
  }

  draw(): void {
    const { chosen } = this.model;
    const shown = this.events.filter((event) => chosen === null || event.page_url === chosen).reverse();
    this.body.replaceChildren(
      ...shown.map((event) =>
        el("tr", {}, el("td", {}, clock(event.timestamp)), el("td", { class: `kind ${event.event_type.toLowerCase()}` }, what(event)), el("td", { class: "page", title: event.page_url }, short(event.page_url)), el("td", { title: event.browser }, event.visitor)),
      ),
    );
    setText(this.note, shown.length > 0 ? "UTC, at most 20 a second; visitors are masked." : chosen === null ? "No events yet." : "None of the last sampled events is on this page.");
  }
}
