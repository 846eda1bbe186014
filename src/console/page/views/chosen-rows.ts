/** Places of events in a letter, from 0. */
export type Chosen = ReadonlySet<number>;

/** With the place, or without it where it is there already. */
export function toggled(chosen: Chosen, place: number): Chosen {
  const next = new Set(chosen);
  if (!next.delete(place)) next.add(place);
  return next;
}

/** As the API takes them: `1,4-6`, counted from 1. */
export function rangesOf(chosen: Chosen): string {
  const ranges: { first: number; last: number }[] = [];
  for (const place of [...chosen].sort((one, other) => one - other)) {
    const range = ranges.at(-1);
    if (range?.last === place) range.last = place + 1;
    else ranges.push({ first: place + 1, last: place + 1 });
  }
  return ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}
