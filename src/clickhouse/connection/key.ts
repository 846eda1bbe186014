/** The header that carries the key of an embedded ClickHouse; it rejects clients without it. */
export const KEY_HEADER = 'X-Weir-Key';
