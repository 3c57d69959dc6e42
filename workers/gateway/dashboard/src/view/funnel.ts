// From view over cart to purchase: events of the open window.

import { el, rows, setText, byId } from "../dom";
import { count, percent } from "../format";
import type { Model } from "../model";
import { bar } from "./ranking";

export class Funnel {
  private readonly body = el("tbody");
  private readonly note = el("p", { class: "note" });

  constructor() {
    byId("funnel").append(el("table", { class: "funnel" }, el("thead", { class: "hidden" }, el("tr", {}, el("th", { scope: "col" }, "Step"), el("th", { scope: "col" }, "Events"), el("th", { scope: "col" }, "Share"))), this.body), this.note);
  }

  draw(model: Model): void {
    const now = model.now();
    const steps: [string, number | undefined][] = [
      ["Views", now?.view_count],
      ["To the cart", now?.cart_count],
      ["Purchases", now?.conversion_count],
    ];
    const views = now?.view_count ?? 0;
    rows(this.body, steps, () => el("tr", {}, el("td", { class: "page" }, el("i", { class: "bar" }), el("span")), el("td", { class: "number" }), el("td", { class: "number" })), (row, [name, events]) => {
      const [step, number, share] = row.children as unknown as [HTMLElement, Element, Element];
      setText(step.lastElementChild as Element, name);
      bar(step, views > 0 ? Math.min(1, (events ?? 0) / views) : 0);
      setText(number, count(events));
      setText(share, events === undefined || views === 0 ? "–" : percent(events / views));
    });
    byId("funnel").classList.toggle("stale", model.stale());
    setText(this.note, now ? "Events of the open window, provisional; shares of the views." : "No data yet.");
  }
}
