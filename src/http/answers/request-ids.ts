/**
 * Generates ids for requests that bring none, out of random bytes: they do not reveal how many requests there were.
 * Bytes are fetched by the thousand, since fetching takes longer than routing a request.
 */
export function createRequestIds(fill: (bytes: Buffer) => void): () => string {
  const bytes = Buffer.alloc(ID_BYTES * IDS_AT_ONCE);
  let used = bytes.length;
  return () => {
    if (used === bytes.length) {
      fill(bytes);
      used = 0;
    }
    used += ID_BYTES;
    return bytes.toString('hex', used - ID_BYTES, used);
  };
}

/** Among a thousand million ids, two are the same with a probability of one in 10^11. */
const ID_BYTES = 12;
const IDS_AT_ONCE = 512;
