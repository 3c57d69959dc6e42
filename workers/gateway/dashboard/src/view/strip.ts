// How fresh everything is.

import { el, rows, say, the } from "../dom";
import { NONE, clock, count, span } from "../format";
import type { Model } from "../model";

interface Item {
  name: string;
  text: string;
  title: string;
  level?: "good" | "warn" | "bad";
}

export function strip(model: Model): void {
  rows(the("strip"), items(model), () => el("span", {}, el("b"), " ", el("span")), (element, item) => {
    say(element.children[0] as Element, item.name);
    say(element.children[1] as Element, item.text);
    element.title = item.title;
    element.className = item.level ?? "";
  });
}

function items(model: Model): Item[] {
  const { health } = model;
  const known = health !== null && health.partitions > 0;
  return [
    connection(model),
    watermark(model),
    {
      name: "sealed",
      text: model.sealedEnd === undefined ? NONE : `${clock(model.sealedEnd)} UTC`,
      title: "End of the newest sealed window: its numbers are final",
    },
    {
      name: "lag",
      text: known ? `${count(health.lag)} events` : NONE,
      title: "Events that are in the topic and not counted yet",
      level: known && health.lag > 1_000 ? "warn" : undefined,
    },
    {
      name: "late",
      text: known ? count(health.late) : NONE,
      title: "Events that missed all their windows: in the dead-letter topic, in no number",
      level: known && health.late > 0 ? "warn" : undefined,
    },
    {
      name: "dead letters",
      text: known ? count(health.dead_letters) : NONE,
      title: "Records that are no valid event: in the dead-letter topic with the reason",
      level: known && health.dead_letters > 0 ? "warn" : undefined,
    },
    { name: "events", text: known ? count(health.counted) : NONE, title: "Events counted since the pipeline began" },
  ];
}

function connection(model: Model): Item {
  if (!model.connected) {
    const text = model.sealedEnd === undefined && !model.health ? "connecting" : "reconnecting";
    return { name: "●", text, title: model.why || "The gateway does not answer; the numbers below stand still", level: "bad" };
  }
  if (model.health?.unready) return { name: "●", text: "reading", title: model.health.unready, level: "warn" };
  const silence = model.silence();
  if (silence === undefined) {
    return { name: "●", text: "waiting for events", title: "No provisional values have come yet", level: "warn" };
  }
  if (model.stale()) {
    return { name: "●", text: `stale for ${span(silence / 1_000)}`, title: "No provisional values have come for a while: no events, or no processors", level: "bad" };
  }
  return { name: "●", text: "live", title: "Provisional values come several times a second", level: "good" };
}

function watermark(model: Model): Item {
  const title = "How far event time is complete; it includes the wait for events that come out of order";
  const mark = model.health?.watermark;
  if (mark === undefined) return { name: "watermark", text: NONE, title };
  const lag = (Date.now() + model.offset - mark) / 1_000;
  if (lag > 600) return { name: "event time", text: `${new Date(mark).toISOString().slice(0, 19).replace("T", " ")} UTC`, title: "Old events are being read" };
  const allowed = ((model.pipeline?.out_of_orderness_ms ?? 30_000) + 30_000) / 1_000;
  return { name: "watermark", text: `${Math.max(0, lag).toFixed(0)} s behind`, title, level: lag > allowed ? "warn" : undefined };
}
