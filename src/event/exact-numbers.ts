/** Numbers for people who read an event: as it was sent, or not as a number. */

/** For `JSON.parse`: an integer that JavaScript would change, or a number beyond every double, is the text that was sent. */
export function withExactNumbers(_: string, value: unknown, context?: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || context?.source === undefined) return value;
  return !Number.isFinite(value) || /^-?\d+$/.test(context.source) ? context.source : value;
}
