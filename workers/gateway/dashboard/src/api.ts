// The gateway's API: docs/api.md.

export interface Counts {
  view_count: number;
  click_count: number;
  cart_count: number;
  conversion_count: number;
  unique_users: number;
}

export interface Totals {
  view_count: number;
  click_count: number;
  conversion_count: number;
  unique_users: number;
  visits?: number;
  bounces?: number;
  engagement_rate: number | null;
  bounce_rate: number | null;
  avg_session_duration?: number | null;
}

export interface WindowTotals {
  window_start: number;
  window_end: number;
  complete: boolean;
  /** It begins before the pipeline's first event. */
  filling: boolean;
  /** The part of its time after that event, milliseconds. */
  covered_ms: number;
  page_count: number;
  site: Totals;
}

export interface Point extends Totals {
  window_start: number;
  window_end: number;
  filling: boolean;
  covered_ms: number;
  avg_session_duration: number | null;
}

export interface RankEntry {
  rank: number;
  page_url: string;
  view_count: number;
  unique_users: number;
  previous_rank: number | null;
}

export interface Trend {
  page_url: string;
  view_count: number;
  expected: number;
  score: number;
  unique_users: number;
}

export interface PageNumbers extends Totals {
  page_url: string;
  avg_session_duration: number;
}

export interface SiteNow {
  window_start?: number;
  window_end?: number;
  filling?: boolean;
  covered_ms?: number;
  as_of?: number;
  page_count?: number;
  now?: Counts;
}

export interface TopNow {
  window_end?: number;
  pages: Record<string, { rank: number; now: Counts }>;
}

export interface PageNow {
  window_end?: number;
  now?: Counts;
  sealed?: Point;
  /** Whether any window here, or the open one, has an event of it. */
  known?: boolean;
}

export interface Health {
  partitions: number;
  expected_partitions: number;
  watermark?: number;
  heard?: number;
  lag: number;
  counted: number;
  late: number;
  dead_letters: number;
  partly_late: number;
  duplicates: number;
  other_pages: number;
  misplaced: number;
  ended: boolean;
  unready?: string;
  warnings: string[];
  /** How many times faster than the clock event time runs, in a demo. */
  simulated?: number;
}

export interface Sealed {
  window: WindowTotals;
  top: RankEntry[];
  warming_up: boolean;
  trending: Trend[];
}

export interface SampledEvent {
  number: number;
  timestamp: number;
  event_type: string;
  page_url: string;
  product_id: string | null;
  event_name: string | null;
  visitor: string;
  browser: string;
}

export interface PipelineInfo {
  ranking_top: number;
  name: string;
  window_size_ms: number;
  window_slide_ms: number;
  out_of_orderness_ms: number;
}

export class Failure extends Error {
  constructor(readonly status: number, detail: string) {
    super(detail);
  }
}

/** Sends a request to the gateway; a problem is thrown with its detail. */
export async function ask<T>(path: string, query: Record<string, string | number | undefined> = {}): Promise<T> {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
  const text = parameters.toString();
  const response = await fetch(`/api/v1/${path}${text ? `?${text}` : ""}`, { headers: { accept: "application/json" } });
  if (!response.ok) {
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new Failure(response.status, problem?.detail ?? response.statusText);
  }
  return (await response.json()) as T;
}
