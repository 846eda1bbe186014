/**
 * Requests as clients of other services send them, from a seed. Their shapes are those of recorded requests
 * (test/sdk/fixtures); every event has values of its own.
 */
import { randomOf } from '../../support/factory.ts';
import { otlpWireOf } from '../../support/otlp-wire.ts';

/** The same events, as each of them writes such a request. */
export type SdkBodies = Readonly<Record<SdkFamily, Buffer>>;
export type SdkFamily = 'segment' | 'posthog' | 'amplitude' | 'otlp JSON' | 'otlp protobuf';

/** What happened: every format says all of this in its own way, and what its client adds. */
type Happening = {
  readonly name: string;
  readonly at: number;
  readonly id: string;
  readonly user: string;
  readonly device: string;
  readonly session: number;
  readonly properties: Readonly<Record<string, unknown>>;
};

const HOUR_MS = 3_600_000;
const NAMES = ['Page Viewed', 'Product Added', 'Order Completed', 'Search Done', 'Video Played'];
const PLANS = ['free', 'starter', 'pro', 'enterprise'];
const TITLES = ['Café crème, 250 g', 'Teapot "Ocean"', 'Notebook A5', 'Lamp', 'Über-Kissen'];

export function createSdkBodies(seed: number): { batch(count: number): SdkBodies } {
  const random = randomOf(seed);
  const upTo = (count: number) => Math.floor(random() * count);
  const oneOf = <Choice>(choices: readonly Choice[]) => choices[upTo(choices.length)]!;
  const hex = (length: number) => Array.from({ length }, () => upTo(16).toString(16)).join('');
  const uuid = () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`;
  const latestMs = Date.now();

  return {
    batch(count) {
      const happenings = Array.from({ length: count }, happening);
      const otlp = otlpOf(happenings);
      return {
        segment: bytesOf({ batch: happenings.map(segmentEvent), sentAt: isoOf(latestMs) }),
        posthog: bytesOf({ api_key: TOKEN, batch: happenings.map(posthogEvent), sent_at: isoOf(latestMs) }),
        amplitude: bytesOf({
          api_key: TOKEN,
          events: happenings.map(amplitudeEvent),
          client_upload_time: isoOf(latestMs),
        }),
        'otlp JSON': bytesOf(otlp),
        'otlp protobuf': otlpWireOf(otlp),
      };
    },
  };

  function happening(): Happening {
    return {
      name: oneOf(NAMES),
      at: latestMs - upTo(HOUR_MS),
      id: uuid(),
      user: `user-${upTo(50_000)}`,
      device: uuid(),
      session: latestMs - HOUR_MS - upTo(HOUR_MS),
      properties: {
        path: `/products/${upTo(5_000)}`,
        referrer: `https://example.com/search?q=${hex(6)}`,
        title: oneOf(TITLES),
        plan: oneOf(PLANS),
        price: upTo(100_000) / 100,
        quantity: 1 + upTo(9),
        first_order: random() < 0.3,
        tags: [oneOf(PLANS), hex(4)],
        nested: { sku: `sku-${upTo(1e6)}`, warehouse: upTo(40) },
      },
    };
  }
}

/** Where the clients write their token; the benchmark's project has it. */
const TOKEN = 'wk_test_0123456789';
const LIBRARY = { name: '@segment/analytics-node', version: '3.1.0' };

const bytesOf = (body: object): Buffer => Buffer.from(JSON.stringify(body));
const isoOf = (at: number): string => new Date(at).toISOString();

const segmentEvent = ({ name, at, id, user, device, session, properties }: Happening) => ({
  timestamp: isoOf(at),
  integrations: {},
  event: name,
  type: 'track',
  properties,
  context: { sessionId: String(session), library: LIBRARY },
  userId: user,
  anonymousId: device,
  messageId: `node-next-${at}-${id}`,
  _metadata: { nodeVersion: 'v24.21.0', jsRuntime: 'node' },
});

const posthogEvent = ({ name, at, id, user, device, session, properties }: Happening) => ({
  event: name,
  properties: {
    ...properties,
    $session_id: String(session),
    $device_id: device,
    $lib: 'posthog-node',
    $lib_version: '5.70.0',
    $is_server: true,
    $geoip_disable: true,
  },
  timestamp: isoOf(at),
  uuid: id,
  distinct_id: user,
});

const amplitudeEvent = ({ name, at, id, user, device, session, properties }: Happening, index: number) => ({
  time: at,
  insert_id: id,
  event_type: name,
  user_id: user,
  device_id: device,
  session_id: session,
  event_properties: properties,
  event_id: index,
  library: 'amplitude-node-ts/1.5.73',
});

const otlpOf = (happenings: readonly Happening[]) => ({
  resourceLogs: [
    {
      resource: {
        attributes: attributesOf({ 'service.name': 'shop', 'service.version': '1.2.3' }),
        droppedAttributesCount: 0,
      },
      scopeLogs: [{ scope: { name: 'orders', version: '1.0.0' }, logRecords: happenings.map(otlpRecord) }],
    },
  ],
});

const otlpRecord = ({ name, at, id, user, device, session, properties }: Happening) => ({
  timeUnixNano: `${at}000000`,
  observedTimeUnixNano: `${at}000000`,
  severityNumber: 9,
  severityText: 'INFO',
  eventName: name,
  attributes: attributesOf({
    ...properties,
    'user.id': user,
    'device.id': device,
    'session.id': String(session),
    'log.record.uid': id,
  }),
  droppedAttributesCount: 0,
});

const attributesOf = (members: object) =>
  Object.entries(members).map(([key, value]: [string, unknown]) => ({ key, value: otlpValueOf(value) }));

function otlpValueOf(value: unknown): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: value } : { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(otlpValueOf) } };
  return { kvlistValue: { values: attributesOf(value as object) } };
}
