// The status strip: connection, watermark, lag and counts of bad records.

import { el, rows, setText, byId } from "../dom";
import { NONE, clock, count, span } from "../format";
import type { Model } from "../model";

interface Item {
  name: string;
  text: string;
  title: string;
  level?: "good" | "warn" | "bad";
}

export function strip(model: Model): void {
  rows(byId("strip"), items(model), () => el("span", {}, el("b"), " ", el("span")), (element, item) => {
    setText(element.children[0] as Element, item.name);
    setText(element.children[1] as Element, item.text);
    element.title = item.title;
    element.className = item.level ?? "";
  });
}

function items(model: Model): Item[] {
  const { health } = model;
  const known = health !== null && health.partitions > 0;
  return [
    connection(model),
    ...simulated(model),
    watermark(model),
    {
      name: "sealed",
      text: model.sealedEnd === undefined ? NONE : `${clock(model.sealedEnd)} UTC`,
      title: "End of the newest sealed window: its numbers are final",
    },
    {
      name: "lag",
      text: known ? `${count(health.lag)} events` : NONE,
      title: "Consumer lag: events in the topic that are not processed yet",
      level: known && health.lag > 1_000 ? "warn" : undefined,
    },
    {
      name: "late",
      text: known ? count(health.late) : NONE,
      title: "Events that missed all their windows: in the dead-letter topic, in no number",
      level: known && health.late > 0 ? "warn" : undefined,
    },
    {
      name: "partly late",
      text: known ? count(health.partly_late) : NONE,
      title: "Events that count, but missed some of their windows because those were sealed: those windows are not whole",
      level: known && health.partly_late > 0 ? "warn" : undefined,
    },
    ...duplicates(model),
    ...otherPages(model),
    ...misplaced(model),
    {
      name: "dead letters",
      text: known ? count(health.dead_letters) : NONE,
      title: "Records that are no valid event: in the dead-letter topic with the reason",
      level: known && health.dead_letters > 0 ? "warn" : undefined,
    },
    { name: "events", text: known ? count(health.counted) : NONE, title: "Events counted since the pipeline began" },
  ];
}

/** Only if there are any: senders repeat events, which is harmless with ids. */
function duplicates(model: Model): Item[] {
  const { health } = model;
  if (!health || !(health.duplicates > 0)) return [];
  return [
    {
      name: "duplicates",
      text: count(health.duplicates),
      title: "Events that were sent again with the same event_id: each counts once",
    },
  ];
}

/** Only if there are any: the site has more pages than the pipeline's limit. */
function otherPages(model: Model): Item[] {
  const { health } = model;
  if (!health || !(health.other_pages > 0)) return [];
  return [
    {
      name: "under (other)",
      text: count(health.other_pages),
      title: "Events of pages beyond limits.pages: they count in the site's totals and under the page (other), not under their own",
      level: "warn",
    },
  ];
}

/** Only if there are any: the producers' settings are wrong then. */
function misplaced(model: Model): Item[] {
  const { health } = model;
  if (!health || !(health.misplaced > 0)) return [];
  return [
    {
      name: "in the wrong partition",
      text: count(health.misplaced),
      title: "Events in another partition than their user_id's: such visitors are counted once in each. Producers must key events by user_id and use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
      level: "bad",
    },
  ];
}

function connection(model: Model): Item {
  if (!model.connected) {
    const text = model.sealedEnd === undefined && !model.health ? "connecting" : "reconnecting";
    return { name: "●", text, title: model.why || "The gateway does not answer; the numbers below are not updated", level: "bad" };
  }
  if (model.health?.unready) return { name: "●", text: "reading", title: model.health.unready, level: "warn" };
  const warning = model.health?.warnings?.[0];
  const silence = model.silence();
  if (model.health?.ended) {
    return { name: "●", text: "log ended", title: "The log was declared to end (weir process --until-end): its last windows were sealed ahead of the clock" };
  }
  if (warning !== undefined) return { name: "●", text: "incomplete", title: warning, level: "warn" };
  if (silence === undefined) {
    return { name: "●", text: "waiting for events", title: "No provisional values have come yet", level: "warn" };
  }
  if (model.quiet()) {
    const minutes = span((model.pipeline?.window_size_ms ?? 300_000) / 1_000);
    return { name: "●", text: `no events for ${minutes}`, title: "The open window is empty; processors publish again with the next event", level: "warn" };
  }
  if (model.stale()) {
    return { name: "●", text: `stale for ${span(silence / 1_000)}`, title: "No provisional values have come for a while: no processor is running, or none can reach Kafka", level: "bad" };
  }
  return { name: "●", text: "live", title: "Provisional values come several times a second", level: "good" };
}

/** In a demo: that the visitors are simulated, and how fast event time runs. */
function simulated(model: Model): Item[] {
  const speed = model.health?.simulated;
  if (!speed) return [];
  const text = speed === 1 ? "visitors" : `time, ${count(speed)} times as fast as the clock`;
  return [{ name: "simulated", text, title: "A demo: the events are those of a simulated shop", level: speed === 1 ? undefined : "warn" }];
}

function watermark(model: Model): Item {
  const title = "Event time up to which all events are expected to have arrived; includes the allowed out-of-orderness";
  const mark = model.health?.watermark;
  if (mark === undefined) return { name: "watermark", text: NONE, title };
  if (model.health?.ended) return { name: "watermark", text: `${utc(mark)}, sealed ahead of the clock`, title };
  const lag = (Date.now() + model.offset - mark) / 1_000;
  if (lag < -1) return { name: "watermark", text: `${span(-lag)} ahead of the clock`, title: "A sender's clock is fast: its events seal windows early", level: "warn" };
  if (lag > 600) return { name: "event time", text: utc(mark), title: "Old events are being read" };
  const allowed = ((model.pipeline?.out_of_orderness_ms ?? 30_000) + 30_000) / 1_000;
  return { name: "watermark", text: `${Math.max(0, lag).toFixed(0)} s behind`, title, level: lag > allowed ? "warn" : undefined };
}

function utc(millis: number): string {
  return `${new Date(millis).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
