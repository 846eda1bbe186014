/** What is known of a client besides what it sends: its address and its user agent, as far as the operator wants them. */
import { isIP, isIPv4 } from 'node:net';
import { rawStringOf } from '../../event/raw-json.ts';
import type { DoorRequest } from '../request/door-request.ts';
import type { Door, RequestHead } from './doors/door.ts';

export type ClientFactsOptions = {
  readonly ip: 'off' | 'anonymised' | 'full';
  readonly userAgent: boolean;
  /** Proxies in front of Weir whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: number;
};

/** Raw JSON; null for what is not to be stored. */
export type ClientFacts = { readonly ip: string | null; readonly userAgent: string | null };

export const NO_FACTS: ClientFacts = { ip: null, userAgent: null };

const MAX_USER_AGENT = 512;

export function clientFactsOf(
  request: DoorRequest,
  { query }: Pick<RequestHead, 'query'>,
  { isForPages = false }: Pick<Door, 'isForPages'>,
  { ip, userAgent, trustedProxies }: ClientFactsOptions,
): ClientFacts {
  if (ip === 'off' && !userAgent) return NO_FACTS;
  const { headers } = request;
  const isWanted = ip !== 'off' && query().get('ip') !== '0';
  const address = isWanted ? addressOf(request, trustedProxies) : null;
  const isPage = isForPages || headers.origin !== undefined;
  const agent = userAgent && isPage ? headers['user-agent'] : undefined;
  return {
    ip: address === null ? null : rawStringOf(ip === 'full' ? address : anonymised(address)),
    userAgent: agent === undefined ? null : rawStringOf(agent.slice(0, MAX_USER_AGENT)),
  };
}

/** The n-th entry from the right, which the outermost trusted proxy wrote; the peer where there are fewer. */
function addressOf({ headers, peer = '' }: DoorRequest, trustedProxies: number): string | null {
  const forwarded = headers['x-forwarded-for'];
  const entries = (typeof forwarded === 'string' ? forwarded : (forwarded ?? []).join(',')).split(',');
  const isBehind = trustedProxies > 0 && forwarded !== undefined && entries.length >= trustedProxies;
  return readAddress(isBehind ? entries.at(-trustedProxies)! : peer);
}

/** An address as proxies write it, perhaps with a port; null for what is none. */
export function readAddress(text: string): string | null {
  const bare = text.trim().replace(WITH_PORT, '$1$2').replace(BRACKETS, '$1').replace(MAPPED, '');
  return isIP(bare) === 0 ? null : bare.toLowerCase();
}

const WITH_PORT = /^(?:(\[[^\]]*\])|(\d+(?:\.\d+){3})):\d+$/;
const BRACKETS = /^\[(.*)\]$/;
/** IPv4 as a socket for both kinds gives it. */
const MAPPED = /^::ffff:(?=\d+\.)/i;

/** The network: 24 bits of IPv4, 48 of IPv6. */
export function anonymised(address: string): string {
  if (isIPv4(address)) return address.replace(/\d+$/, '0');
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const groups = head === '' ? [] : head.split(':');
  // What `::` stands for is zeroes, at least as many as three groups need.
  if (tail !== undefined) while (groups.length < 3) groups.push('0');
  return `${groups.slice(0, 3).join(':')}::`;
}
