// Everything that is shown, and what of it the URL says.

import type { Counts, Health, PageNow, PipelineInfo, Place, Point, Sealed, SiteNow, TopNow, Totals, Trend, WindowTotals } from "./api";

/** Time shown in the chart. */
export const SHOWN = 30 * 60_000;

/** Silence after which provisional values are stale, beyond a slide: in it they change by time alone. */
const SILENCE = 5_000;

/** One point of the chart. Provisional ones give way to final ones. */
export interface Sample {
  end: number;
  totals: Totals | null;
  provisional: boolean;
  /** The window begins before the first event. */
  filling: boolean;
  /** How much of its time lies after that, minutes. */
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
  places: Place[] = [];
  trends: Trend[] = [];
  warmingUp = false;
  sealedEnd: number | undefined;
  /** The chosen page; null for the whole site. */
  chosen: string | null = null;
  /** Why the chosen page has no numbers, if the gateway says so. */
  unknown = "";
  private sealed = new Map<number, Sample>();
  private passing: Sample[] = [];

  /** Begins anew: another page was chosen. */
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
    // Windows of different lanes may be told out of order: there is no way back in time.
    if (this.sealedEnd !== undefined && end < this.sealedEnd) return;
    this.sealedEnd = end;
    this.places = sealed.top;
    this.trends = sealed.trending;
    this.warmingUp = sealed.warming_up;
  }

  private seal(window: { window_end: number; filling: boolean; covered_ms: number }, totals: Totals): void {
    const { window_end: end, filling, covered_ms: covered } = window;
    this.sealed.set(end, { end, totals, provisional: false, filling, minutes: covered / 60_000 });
    const newest = Math.max(...this.sealed.keys());
    for (const old of this.sealed.keys()) if (old < newest - SHOWN) this.sealed.delete(old);
    this.passing = this.passing.filter((sample) => sample.end > newest);
  }

  /** Keeps a provisional value as the end of the chart, about one a second. */
  pass(now: Counts | undefined): void {
    const { as_of: newest, window_end: open, filling = false, covered_ms: covered } = this.site;
    if (newest === undefined || open === undefined || covered === undefined) return;
    // Where no event came for a while, the window goes on by the clock.
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

  /** What is so now: of the chosen page, or the site. */
  now(): Counts | undefined {
    return this.chosen === null ? this.site.now : this.page.now;
  }

  /** Milliseconds since provisional values last came; undefined before. */
  silence(): number | undefined {
    const heard = this.health?.heard;
    return heard === undefined ? undefined : Math.max(0, Date.now() + this.offset - heard);
  }

  /** The open window is known to be empty, and stays so without a word until an event comes. */
  quiet(): boolean {
    const now = this.site.now;
    return now !== undefined && now.unique_users === 0;
  }

  /** Values are older than they look. */
  stale(): boolean {
    const silence = this.silence();
    const allowed = Math.max(15_000, (this.pipeline?.window_slide_ms ?? 10_000) + SILENCE);
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
