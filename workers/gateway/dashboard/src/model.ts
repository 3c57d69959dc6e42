// Everything that is shown, and what of it the URL says.

import type { Counts, Health, PageNow, PipelineInfo, Place, Point, Sealed, SiteNow, TopNow, Totals, Trend, WindowTotals } from "./api";

/** Time shown in the chart. */
export const SHOWN = 30 * 60_000;

/** One point of the chart. Provisional ones give way to final ones. */
export interface Sample {
  end: number;
  totals: Totals | null;
  provisional: boolean;
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
  private sealed = new Map<number, Totals>();
  private passing: Sample[] = [];

  /** Begins anew: another page was chosen. */
  clear(): void {
    this.sealed.clear();
    this.passing = [];
    this.page = {};
  }

  windows(windows: WindowTotals[]): void {
    for (const window of windows) this.seal(window.window_end, window.site);
  }

  points(points: Point[]): void {
    for (const point of points) this.seal(point.window_end, point);
  }

  /** A window was sealed. The numbers of a chosen page come separately. */
  take(sealed: Sealed): void {
    const end = sealed.window.window_end;
    if (this.chosen === null) this.seal(end, sealed.window.site);
    // Windows of different lanes may be told out of order: there is no way back in time.
    if (this.sealedEnd !== undefined && end < this.sealedEnd) return;
    this.sealedEnd = end;
    this.places = sealed.top;
    this.trends = sealed.trending;
    this.warmingUp = sealed.warming_up;
  }

  seal(end: number, totals: Totals): void {
    this.sealed.set(end, totals);
    const newest = Math.max(...this.sealed.keys());
    for (const old of this.sealed.keys()) if (old < newest - SHOWN) this.sealed.delete(old);
    this.passing = this.passing.filter((sample) => sample.end > newest);
  }

  /** Keeps a provisional value as the end of the chart, about one a second. */
  pass(end: number | undefined, now: Counts | undefined): void {
    if (end === undefined) return;
    const last = this.passing[this.passing.length - 1];
    if (this.latest() && end <= (this.latest()?.end ?? 0)) return;
    const sample = { end, totals: now ? provisional(now) : null, provisional: true };
    if (last && end - last.end < 1_000) this.passing[this.passing.length - 1] = sample;
    else this.passing.push(sample);
    if (this.passing.length > 600) this.passing.shift();
  }

  /** Final windows, earliest first. */
  finals(): Sample[] {
    const sorted = [...this.sealed.entries()].sort((a, b) => a[0] - b[0]);
    return sorted.map(([end, totals]) => ({ end, totals, provisional: false }));
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

  /** Values are older than they look. */
  stale(): boolean {
    const silence = this.silence();
    return !this.connected || (silence !== undefined && silence > 15_000);
  }
}

export function provisional(now: Counts): Totals {
  return {
    ...now,
    engagement_rate: now.view_count > 0 ? now.click_count / now.view_count : 0,
    bounce_rate: null,
  };
}
