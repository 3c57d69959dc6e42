// Formats numbers and times. An unknown value is a dash, never a zero.

export const NONE = "–";
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

export function decimal(value: number | null | undefined): string {
  if (value === null || value === undefined) return NONE;
  return value < 10 ? value.toFixed(1) : WHOLE.format(value);
}

export function percent(value: number | null | undefined): string {
  return value === null || value === undefined ? NONE : `${(value * 100).toFixed(1)} %`;
}

export function clock(millis: number | null | undefined): string {
  return millis === null || millis === undefined ? NONE : new Date(millis).toISOString().slice(11, 19);
}

export function day(millis: number): string {
  return new Date(millis).toISOString().slice(0, 10);
}

export function span(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 60) return `${seconds.toFixed(0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(0)} days`;
}

/** A page's path, without scheme and host. */
export function short(url: string): string {
  const path = url.replace(/^https?:\/\/[^/]+/, "");
  return path === "" ? "/" : path;
}

/** Why a page trends: `184 views, 41 expected, 4.5 times`. */
export function trendReason(views: number, expected: number): string {
  if (expected < 0.05) return `${count(views)} views, none expected`;
  return `${count(views)} views, ${decimal(expected)} expected, ${(views / expected).toFixed(1)} times`;
}
