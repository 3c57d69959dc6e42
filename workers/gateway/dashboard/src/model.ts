// The dashboard's state.

import type { Counts, Health, PageNow, PipelineInfo, RankEntry, Point, Sealed, SiteNow, TopNow, Totals, Trend, WindowTotals } from "./api";

/** Time shown in the chart. */
export const CHART_SPAN_MS = 30 * 60_000;

/** Time without provisional values, beyond a slide, after which they are stale. */
const STALE_AFTER_MS = 5_000;

/** One point of the chart. Final samples replace provisional ones. */
export interface Sample {
  end: number;
  totals: Totals | null;
  provisional: boolean;
  /** The window begins before the first event. */
  filling: boolean;
  /** The part of its time after that event, minutes. */
  minutes: number;
}

export class Model {
  pipeline: PipelineInfo | null = null;
  connected = false;
  why = "";
  /** The gateway's clock less this one's. */
  offset = 0;
  health: Health | null = null;
  site: SiteNow = {};
  top: TopNow = { pages: {} };
  page: PageNow = {};
  ranking: RankEntry[] = [];
  trends: Trend[] = [];
  warmingUp = false;
  sealedEnd: number | undefined;
  /** The chosen page; null for the whole site. */
  chosen: string | null = null;
  /** The gateway's reason why the chosen page has no numbers, if any. */
  unknown = "";
  private sealed = new Map<number, Sample>();
  private passing: Sample[] = [];

  /** Drops all samples: another page was chosen. */
  clear(): void {
    this.sealed.clear();
    this.passing = [];
    this.page = {};
    this.unknown = "";
  }

  windows(windows: WindowTotals[]): void {
    for (const window of windows) this.seal(window, window.site);
  }

  points(points: Point[]): void {
    for (const point of points) this.seal(point, point);
  }

  /** A window was sealed. The numbers of a chosen page come separately. */
  take(sealed: Sealed): void {
    const end = sealed.window.window_end;
    if (this.chosen === null) this.seal(sealed.window, sealed.window.site);
    // Windows of different lanes may arrive out of order: the ranking never goes back in time.
    if (this.sealedEnd !== undefined && end < this.sealedEnd) return;
    this.sealedEnd = end;
    this.ranking = sealed.top;
    this.trends = sealed.trending;
    this.warmingUp = sealed.warming_up;
  }

  private seal(window: { window_end: number; filling: boolean; covered_ms: number }, totals: Totals): void {
    const { window_end: end, filling, covered_ms: covered } = window;
    this.sealed.set(end, { end, totals, provisional: false, filling, minutes: covered / 60_000 });
    const newest = Math.max(...this.sealed.keys());
    for (const old of this.sealed.keys()) if (old < newest - CHART_SPAN_MS) this.sealed.delete(old);
    this.passing = this.passing.filter((sample) => sample.end > newest);
  }

  /** Keeps a provisional value as the end of the chart, about one a second. */
  pass(now: Counts | undefined): void {
    const { as_of: newest, window_end: open, filling = false, covered_ms: covered } = this.site;
    if (newest === undefined || open === undefined || covered === undefined) return;
    // Without recent events the window advances with the clock.
    const end = Math.max(newest, open - (this.pipeline?.window_slide_ms ?? 10_000));
    const last = this.passing[this.passing.length - 1];
    if (this.latest() && end <= (this.latest()?.end ?? 0)) return;
    const sample = { end, totals: now ? provisional(now) : null, provisional: true, filling, minutes: covered / 60_000 };
    if (last && end - last.end < 1_000) this.passing[this.passing.length - 1] = sample;
    else this.passing.push(sample);
    if (this.passing.length > 600) this.passing.shift();
  }

  /** Final windows, earliest first. */
  finals(): Sample[] {
    return [...this.sealed.values()].sort((a, b) => a.end - b.end);
  }

  /** The newest final window. */
  latest(): Sample | undefined {
    return this.finals().pop();
  }

  tail(): Sample[] {
    return this.passing;
  }

  /** The current provisional values of the chosen page, or of the site. */
  now(): Counts | undefined {
    return this.chosen === null ? this.site.now : this.page.now;
  }

  /** Milliseconds since provisional values were last received; undefined before. */
  silence(): number | undefined {
    const heard = this.health?.heard;
    return heard === undefined ? undefined : Math.max(0, Date.now() + this.offset - heard);
  }

  /** The open window is empty; processors publish nothing until the next event. */
  quiet(): boolean {
    const now = this.site.now;
    return now !== undefined && now.unique_users === 0;
  }

  /** No fresh provisional values are being received. */
  stale(): boolean {
    const silence = this.silence();
    const allowed = Math.max(15_000, (this.pipeline?.window_slide_ms ?? 10_000) + STALE_AFTER_MS);
    return !this.connected || (!this.quiet() && !this.health?.ended && silence !== undefined && silence > allowed);
  }
}

export function provisional(now: Counts): Totals {
  return {
    ...now,
    engagement_rate: now.view_count > 0 ? now.click_count / now.view_count : 0,
    bounce_rate: null,
  };
}
