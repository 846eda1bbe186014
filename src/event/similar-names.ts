/** Detects misspelt names of known fields. */

/** Whether a key is nearly always a typo of a known one: another spelling, or up to two characters off. */
export function isSimilarName(name: string, known: string): boolean {
  if (name.length > known.length + 3) return false;
  return editDistance(lettersOnly(name), lettersOnly(known)) <= 2;
}

function lettersOnly(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z]/g, '');
}

/** The Levenshtein distance: how many characters must be added, removed or replaced to turn `a` into `b`. */
function editDistance(a: string, b: string): number {
  let distances = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = (distances[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (distances[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    distances = next;
  }
  return distances[b.length] ?? 0;
}
