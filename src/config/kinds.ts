import { isListenHost } from '../net/hosts.ts';
import { ORIGIN_EXAMPLES, isOriginPattern } from '../net/origins.ts';

/** What a setting may hold: how its text becomes a value, and how it is displayed. */
export type Kind<T> = {
  /** Completes the sentence "accepted: …". */
  readonly accepts: string;
  /** The value, or undefined when the text is invalid. Never called with an empty text: empty means unset. */
  parse(text: string): T | undefined;
  /** The text as it may be printed. */
  show(text: string): string;
};

export const REDACTED = '[redacted]';

const DURATION_UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS_BYTES: Readonly<Record<string, number>> = { '': 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

export function integer(min: number, max: number): Kind<number> {
  return plain(`a whole number from ${min} to ${max}`, (text) => {
    return /^\d{1,15}$/.test(text) ? within(Number(text), min, max) : undefined;
  });
}

/** A fraction: more than 0, at most 1. */
export const share: Kind<number> = plain('a number above 0 and at most 1, such as 0.5', (text) => {
  if (!/^(\d+(\.\d*)?|\.\d+)$/.test(text)) return undefined;
  const value = Number(text);
  return value > 0 && value <= 1 ? value : undefined;
});

/** In milliseconds. The bounds are written as people write them. */
export function duration(min: string, max: string): Kind<number> {
  return plain(`a duration from ${min} to ${max}, such as 500ms, 2s, 10m, 24h or 7d`, (text) => {
    return within(milliseconds(text), milliseconds(min)!, milliseconds(max)!);
  });
}

/** In bytes. */
export function size(min: string, max: string): Kind<number> {
  return plain(`a size from ${min} to ${max}, such as 64KiB, 10MiB, 1GiB or plain bytes`, (text) => {
    return within(bytes(text), bytes(min)!, bytes(max)!);
  });
}

export const flag: Kind<boolean> = plain('true or false', (text) => {
  if (text === 'true' || text === '1') return true;
  return text === 'false' || text === '0' ? false : undefined;
});

export function oneOf<const T extends string>(...choices: readonly T[]): Kind<T> {
  return plain(choices.join(', '), (text) => choices.find((choice) => choice === text));
}

export function matching(pattern: RegExp, accepts: string): Kind<string> {
  return plain(accepts, (text) => (pattern.test(text) ? text : undefined));
}

/** `off` is null; otherwise a number of requests per number of milliseconds. */
export const rate: Kind<{ requests: number; perMs: number } | null> = plain(
  'off, or a number of requests per second or minute, such as 100/s or 600/m',
  (text) => {
    if (text === 'off') return null;
    const [, requests, unit] = /^([1-9]\d{0,8})\/([sm])$/.exec(text) ?? [];
    return unit ? { requests: Number(requests), perMs: DURATION_UNITS_MS[unit]! } : undefined;
  },
);

/** How many of several copies: more than half of them, or so many. */
export const quorum: Kind<'auto' | number> = plain('auto, or a whole number from 2 to 32', (text) => {
  if (text === 'auto') return text;
  return /^\d{1,2}$/.test(text) ? within(Number(text), 2, 32) : undefined;
});

/** `off` stays as it is; otherwise the id in lower case. */
export const projectOrOff: Kind<string> = plain('a project id (see: weir project list), or off', (text) => {
  if (text === 'off') return text;
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : undefined;
});

export const origins: Kind<readonly string[]> = plain(
  `exact origins or patterns separated by commas, such as ${ORIGIN_EXAMPLES} (no path); empty allows every origin`,
  (text) => {
    const listed = text.split(',').map((origin) => origin.trim());
    return listed.every(isOriginPattern) ? [...new Set(listed)] : undefined;
  },
);

/** As a browser writes it: no path, and no port where it is the scheme's own. */
export const webOrigin: Kind<string> = plain('an origin such as https://weir.example.com, without a path', (text) => {
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text ? text : undefined;
});

export const portOrOff: Kind<number | 'auto' | 'off'> = plain(
  'off (or 0), auto for the first free port from 8081, or a port up to 65535',
  (text) => {
    if (text === 'off' || text === '0') return 'off';
    if (text === 'auto') return text;
    return /^\d{1,5}$/.test(text) ? within(Number(text), 1, 65_535) : undefined;
  },
);

export const listenHost: Kind<string> = plain('an address without a zone (%eth0), or a host name', (text) => {
  return isListenHost(text) ? text : undefined;
});

export const path: Kind<string> = matching(/^[^\0]+$/, 'the path of a file');

/** Addresses to begin with; an IPv6 address stands in brackets. */
export const brokers: Kind<readonly string[]> = plain(
  'host:port, or several separated by commas, such as kafka-1:9092,kafka-2:9092',
  (text) => {
    const listed = text.split(',').map((broker) => broker.trim());
    return listed.every(isBroker) ? [...new Set(listed)] : undefined;
  },
);

function isBroker(text: string): boolean {
  const [, port] = /^(?:[\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})$/i.exec(text) ?? [];
  return port !== undefined && Number(port) >= 1 && Number(port) <= 65_535;
}

/** A connection string whose only secret is its password. */
export function url(protocols: readonly string[], example: string): Kind<URL> {
  return {
    accepts: `a URL such as ${example}`,
    parse: (text) => {
      const parsed = URL.canParse(text) ? new URL(text) : null;
      if (!parsed || !protocols.includes(parsed.protocol) || parsed.hostname === '') return undefined;
      return isDecodable(parsed.username) && isDecodable(parsed.password) ? parsed : undefined;
    },
    show: redactUrl,
  };
}

/** A secret that is sent in a header. */
export const operatorToken: Kind<string> = {
  accepts: '16 to 512 printable ASCII characters without spaces',
  parse: (text) => (/^[\x21-\x7e]{16,512}$/.test(text) ? text : undefined),
  show: () => REDACTED,
};

export const secret: Kind<string> = { accepts: 'any text', parse: (text) => text, show: () => REDACTED };

/**
 * The URL without its password. Text that is no URL may be a password pasted into the wrong place: nothing of it is
 * shown.
 */
export function redactUrl(text: string): string {
  if (!URL.canParse(text)) return REDACTED;
  const shown = new URL(text);
  if (shown.password !== '') shown.password = 'redacted';
  for (const key of new Set(shown.searchParams.keys())) {
    if (/pass|secret|token|key/i.test(key)) shown.searchParams.set(key, 'redacted');
  }
  return shown.href;
}

/** A stray percent sign is not an escape. */
export function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    // It only throws for invalid input, which is the answer here.
    return false;
  }
}

function plain<T>(accepts: string, parse: (text: string) => T | undefined): Kind<T> {
  // A value far longer than any valid one is shown only in part.
  return { accepts, parse, show: (text) => (text.length > 200 ? `${text.slice(0, 200)}…` : text) };
}

function milliseconds(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(text) ?? [];
  return unit ? Number(count) * DURATION_UNITS_MS[unit]! : undefined;
}

function bytes(text: string): number | undefined {
  const [, count, unit] = /^(\d{1,15})(B|KiB|MiB|GiB|)$/.exec(text) ?? [];
  return unit === undefined ? undefined : Number(count) * SIZE_UNITS_BYTES[unit]!;
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}
