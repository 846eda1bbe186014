/**
 * Generates ids for requests that bring none, out of random bytes: they do not reveal how many requests there were.
 * They are made by the hundred: fetching bytes, and writing them as text, costs more than all else that is done for an id.
 */
export function createRequestIds(fill: (bytes: Buffer) => void): () => string {
  const bytes = Buffer.alloc(ID_BYTES * IDS_AT_ONCE);
  let ids = '';
  let used = 0;
  return () => {
    if (used === ids.length) {
      fill(bytes);
      ids = bytes.toString('hex');
      used = 0;
    }
    used += ID_LENGTH;
    return ids.slice(used - ID_LENGTH, used);
  };
}

/** Among a thousand million ids, two are the same with a probability of one in 10^11. */
const ID_BYTES = 12;
const ID_LENGTH = 2 * ID_BYTES;
const IDS_AT_ONCE = 512;
