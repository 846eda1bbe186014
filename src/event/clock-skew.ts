/** Wrong device clocks, detected by comparing when the device says it sent a request with when the request arrived. */
import { membersOf } from './extras.ts';
import { stringOf } from './raw-json.ts';

/** Smaller differences are transit time or a retry; the timestamps stay as sent, so that a retry is the same row. */
const LEAST_SKEW_MS = 60_000;

/** How slow a device's clock is, in milliseconds; 0 when it is about right, or nothing is known. */
export function skewOf(sentAt: number | null, receivedAt: number): number {
  const skewMs = sentAt === null ? 0 : receivedAt - sentAt;
  return Math.abs(skewMs) < LEAST_SKEW_MS ? 0 : skewMs;
}

/** The extras with the correction recorded; they are not empty. */
export function withSkew(extras: string, skewMs: number): string {
  return `${extras.slice(0, -1)},"$skew_ms":${skewMs}}`;
}

/** Names by which server libraries identify themselves, in the event or in its extras and in its properties. */
const IN_EVENT: Readonly<Record<string, string>> = { channel: 'server', $lib: 'posthog-node', library: 'posthog-node' };
const IN_PROPERTIES: Readonly<Record<string, string | true>> = {
  $is_server: true,
  $lib: 'posthog-node',
  library: 'posthog-node',
};

/**
 * Whether a server sent the event. Server clocks are right, and their libraries keep the first try's `sent_at` over all
 * retries: after an outage a correction would make a right time wrong. Raw objects, as byte text.
 */
export function isFromServer(event: readonly string[], properties: string): boolean {
  return event.some((object) => hasOneOf(object, IN_EVENT)) || hasOneOf(properties, IN_PROPERTIES);
}

function hasOneOf(object: string, marks: Readonly<Record<string, string | true>>): boolean {
  for (const { key, value } of membersOf(object)) {
    const name = stringOf(key);
    if (!Object.hasOwn(marks, name)) continue;
    const mark = marks[name];
    if (mark === true ? value === 'true' : value[0] === '"' && stringOf(value) === mark) return true;
  }
  return false;
}
