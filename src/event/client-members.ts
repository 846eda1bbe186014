/** What events say themselves of the address and the browser of their client: that is theirs, and stays as it was sent. */
import type { EventReader } from './event-reader.ts';
import { wordsOf } from './lenient-text.ts';

const ADDRESSES = ['context.ip', '$ip', 'ip', 'properties.$ip', 'properties.ip'] as const;
const AGENTS = [
  'context.userAgent',
  '$raw_user_agent',
  'user_agent',
  'properties.$raw_user_agent',
  'properties.user_agent',
] as const;
const NO_PLACE_WANTED = ['properties.$geoip_disable', '$geoip_disable'] as const;
/** What clients of Amplitude write where the server shall look. */
const REMOTE = '$remote';

export const CLIENT_PATHS = [...ADDRESSES, ...AGENTS, ...NO_PLACE_WANTED];

/** The extras with what is known of the client, raw, unless the event says it or does not want it. */
export function withClientFacts(
  extras: string,
  { read }: Pick<EventReader, 'read'>,
  { ip, userAgent }: { readonly ip: string | null; readonly userAgent: string | null },
): string {
  let more = '';
  const saysAddress = ADDRESSES.some((path) => (wordsOf(read(path)) ?? REMOTE) !== REMOTE);
  const wantsNone = NO_PLACE_WANTED.some((path) => wordsOf(read(path)) === 'true');
  if (ip !== null && !saysAddress && !wantsNone) more += `,"$ip":${ip}`;
  if (userAgent !== null && AGENTS.every((path) => read(path) === null)) more += `,"$user_agent":${userAgent}`;
  if (more === '') return extras;
  return extras === '{}' ? `{${more.slice(1)}}` : `${extras.slice(0, -1)}${more}}`;
}
