/** Who reads which partition: the member that leads the group decides, by this rule. */

export type GroupMember = {
  readonly id: string;
  /** What it says it has. */
  readonly owned: readonly number[];
  /** The generation in which it got that; the newest is right where two say that they have the same. */
  readonly generation: number;
};

/**
 * Partitions 0 to `count` − 1 shared out evenly. Each member keeps what it has, as far as that is its share, so that
 * little work is interrupted.
 */
export function shareOut(members: readonly GroupMember[], count: number): Map<string, number[]> {
  const shares = new Map<string, number[]>(members.map(({ id }) => [id, []]));
  if (members.length === 0) return shares;
  const owners = ownersOf(members, count);
  const least = Math.floor(count / members.length);
  let larger = count % members.length;
  const left = new Set(Array.from({ length: count }, (_, partition) => partition));
  // Who has most is the first to have one more than others.
  const byOwned = [...owners].sort(([id, a], [other, b]) => b.length - a.length || (id < other ? -1 : 1));
  const sizes = new Map(byOwned.map(([id]) => [id, larger-- > 0 ? least + 1 : least]));
  for (const [id, owned] of byOwned) {
    for (const partition of owned.slice(0, sizes.get(id))) {
      shares.get(id)!.push(partition);
      left.delete(partition);
    }
  }
  const rest = [...left];
  for (const [id] of byOwned) {
    const share = shares.get(id)!;
    share.push(...rest.splice(0, sizes.get(id)! - share.length));
    share.sort((a, b) => a - b);
  }
  return shares;
}

/** Each partition with one owner at most, and none that the topic does not have. */
function ownersOf(members: readonly GroupMember[], count: number): Map<string, number[]> {
  const newestFirst = [...members].sort((a, b) => b.generation - a.generation || (a.id < b.id ? -1 : 1));
  const seen = new Set<number>();
  return new Map(
    newestFirst.map(({ id, owned }) => [
      id,
      owned.filter((partition) => {
        if (partition >= count || seen.has(partition)) return false;
        seen.add(partition);
        return true;
      }),
    ]),
  );
}
