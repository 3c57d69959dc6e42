// RFC 7396: applies a merge patch to a value.

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export function merged(target: unknown, patch: unknown): Json {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch as Json;
  // Without a prototype: a page may be called __proto__.
  const result: { [name: string]: Json } = Object.create(null);
  if (target !== null && typeof target === "object" && !Array.isArray(target)) {
    for (const [name, value] of Object.entries(target)) result[name] = value as Json;
  }
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}
