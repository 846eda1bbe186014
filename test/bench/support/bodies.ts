/**
 * Events as clients send them, from a seed: the same seed, the same bytes (but for
 * the hour they are from). Every event has an id of its own where its format has
 * one, and is different from every other where it has none.
 */
import { randomOf } from '../../support/factory.ts';

/** About 120, 280 and 2 000 bytes an event. */
export type EventSize = 'small' | 'typical' | 'heavy';

export type Bodies = {
  /** One event of the native format, as JSON. */
  nativeEvent(size?: EventSize): string;
  /** A body for `/api/v1/ingest/events`. */
  nativeBatch(count: number, size?: EventSize): Buffer;
  /** A body for `/events`. */
  productEvent(): Buffer;
  /** Events of services, as many as fit into `maxBytes` as NDJSON. */
  serviceEvents(maxBytes: number): ServiceEvents;
};

export type ServiceEvents = {
  readonly events: number;
  /** A body for `/v1/events`. */
  readonly ndjson: Buffer;
  /** The same events in the native format, so many to a body. */
  nativeBatches(size: number): readonly { readonly body: Buffer; readonly events: number }[];
};

const HOUR_MS = 3_600_000;
const EVENT_NAMES = ['page viewed', 'button clicked', 'order placed', 'search done', 'video played'];

export function createBodies(seed: number): Bodies {
  const random = randomOf(seed);
  const upTo = (count: number) => Math.floor(random() * count);
  const oneOf = <Choice>(choices: readonly Choice[]) => choices[upTo(choices.length)]!;
  const latestMs = Date.now();
  const run = (seed >>> 0).toString(16).padStart(8, '0');
  let made = 0;

  return {
    nativeEvent,
    nativeBatch(count, size) {
      const events = Array.from({ length: count }, () => nativeEvent(size));
      return Buffer.from(`{"events":[${events.join(',')}]}`);
    },
    productEvent() {
      return Buffer.from(
        JSON.stringify({
          event_name: oneOf(EVENT_NAMES),
          user_id: `user-${upTo(50_000)}`,
          timestamp: timestamp(),
          channel: oneOf(['web', 'mobile', 'api']),
          campaign_id: `campaign-${upTo(40)}`,
          tags: ['new', 'trial'],
          metadata: { order: newId(), amount: upTo(100_000) / 100, currency: 'EUR', path: `/pricing/${upTo(500)}` },
        }),
      );
    },
    serviceEvents(maxBytes) {
      const events: ServiceEvent[] = [];
      const lines: string[] = [];
      let bytes = 0;
      for (;;) {
        const event = serviceEvent();
        const line = `${JSON.stringify(event)}\n`;
        // Nothing here is outside ASCII: a character is a byte.
        bytes += line.length;
        if (bytes > maxBytes) break;
        events.push(event);
        lines.push(line);
      }
      return {
        events: events.length,
        ndjson: Buffer.from(lines.join('')),
        nativeBatches: (size) => inBatches(events.map(nativeOf), size),
      };
    },
  };

  function nativeEvent(size: EventSize = 'typical'): string {
    const event = { event: oneOf(EVENT_NAMES), event_id: newId(), timestamp: timestamp() };
    if (size === 'small') return JSON.stringify({ ...event, user_id: `u${upTo(50_000)}` });
    return JSON.stringify({
      ...event,
      user_id: `user-${upTo(50_000)}`,
      session_id: `session-${upTo(9_000)}`,
      properties: size === 'typical' ? properties() : manyProperties(),
    });
  }

  function properties() {
    return {
      path: `/pricing/${upTo(500)}`,
      referrer: 'https://example.com/search?q=weir',
      load_ms: upTo(30_000) / 10,
      tags: ['a', 'b'],
      new: random() < 0.3,
    };
  }

  function manyProperties() {
    const more = Array.from({ length: 40 }, (_, index) => [
      `property_${index}`,
      oneOf<unknown>([upTo(1e6), random() < 0.5, null, `a value of some words, number ${upTo(1e6)}`]),
    ]);
    return {
      ...properties(),
      ...(Object.fromEntries(more) as object),
      cart: Array.from({ length: 8 }, (_, index) => ({
        sku: `sku-${upTo(1e6)}`,
        name: 'a thing with a "name"',
        price: upTo(10_000) / 100,
        position: index,
      })),
    };
  }

  function serviceEvent() {
    return {
      timestamp: timestamp(),
      service: oneOf(['checkout', 'mailer', 'search']),
      name: oneOf(EVENT_NAMES),
      env: 'production',
      trace_id: newId(),
      level: oneOf(['info', 'warn', 'error']),
      user_id: `user-${upTo(50_000)}`,
      data: { ...properties(), order_id: upTo(1e6) },
    };
  }

  function timestamp(): number {
    return latestMs - upTo(HOUR_MS);
  }

  function newId(): string {
    made += 1;
    return `${run}-0000-7000-8000-${made.toString(16).padStart(12, '0')}`;
  }
}

type ServiceEvent = { readonly name: string; readonly data: object; readonly [key: string]: unknown };

/** What the native format has no field for, it keeps as extras, as the NDJSON door does. */
const nativeOf = ({ name, data, ...rest }: ServiceEvent) => ({ event: name, properties: data, ...rest });

function inBatches(events: readonly object[], size: number): { body: Buffer; events: number }[] {
  return Array.from({ length: Math.ceil(events.length / size) }, (_, index) => {
    const batch = events.slice(index * size, (index + 1) * size);
    return { body: Buffer.from(JSON.stringify({ events: batch })), events: batch.length };
  });
}
