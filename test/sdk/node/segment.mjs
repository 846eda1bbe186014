/** Segment, RudderStack and Jitsu for Node: every call of their API, in turn. */
import jitsu from '@jitsu/js';
import RudderAnalytics from '@rudderstack/rudder-sdk-node';
import { Analytics } from '@segment/analytics-node';
import LegacyAnalytics from 'analytics-node';
import RudderAnalytics2 from 'rudder-node-2';
import { Analytics as Analytics1 } from 'segment-node-1';
import { Analytics as Analytics2 } from 'segment-node-2';

/** In an hour that is over: such hours are counted as events arrive, the present one is read from the events. */
const ago = () => new Date(Date.now() - 3 * 3_600_000);

/** What `call` is told for the event of `mark`. The mark of an alias has no other place than the context. */
const CALLS = [
  (call, mark) => call('track', { userId: 'user-0', event: 'Ordered', timestamp: ago(), properties: { mark } }),
  (call, mark) => call('page', { anonymousId: 'anon-0', name: 'Start', properties: { mark } }),
  (call, mark) => call('identify', { userId: 'user-0', anonymousId: 'anon-0', traits: { mark } }),
  (call, mark) => call('screen', { anonymousId: 'anon-0', name: 'Start', properties: { mark } }),
  (call, mark) => call('group', { userId: 'user-0', groupId: 'group-0', traits: { mark } }),
  (call, mark) => call('alias', { userId: 'user-0', previousId: 'anon-1', context: { mark } }),
];
const callInTurn = (call, mark, turn) => CALLS[turn % CALLS.length](call, mark);

/** These clients report each event to a callback, with an error when they gave it up. */
const reported = (client) => (mark, turn) =>
  new Promise((resolve) =>
    callInTurn((method, message) => client[method](message, (failure) => resolve(!failure)), mark, turn),
  );

/** What the app meets when a flush fails is already reported to the callbacks. */
const flushAll = async (client) => {
  while (client.queue.length > 0) await client.flush().catch(() => {});
};

const openSegment = (Client) => (url, token) => {
  const client = new Client({ writeKey: token, host: url, maxEventsInBatch: 3, flushInterval: 200 });
  return { send: reported(client), close: () => client.closeAndFlush({ timeout: 60_000 }) };
};

const openRudder = (Client) => (url, token) => {
  const options = { flushAt: 3, flushInterval: 200, logLevel: 'none', errorHandler: () => {} };
  const client = new Client(token, { ...options, dataPlaneUrl: url });
  return { send: reported(client), close: () => flushAll(client) };
};

export const segmentClients = [
  { name: 'segment-node-3', open: openSegment(Analytics) },
  { name: 'segment-node-2', open: openSegment(Analytics2) },
  { name: 'segment-node-1', open: openSegment(Analytics1) },
  {
    name: 'segment-legacy',
    open(url, token) {
      const client = new LegacyAnalytics(token, {
        host: url,
        flushAt: 3,
        flushInterval: 200,
        errorHandler: () => {},
      });
      return { send: reported(client), close: () => flushAll(client) };
    },
  },
  { name: 'rudder-node-3', open: openRudder(RudderAnalytics) },
  { name: 'rudder-node-2', open: openRudder(RudderAnalytics2) },
  {
    name: 'jitsu-node',
    open(url, token) {
      // It has no callback: whether an event arrived is seen by its own fetch alone.
      const arrivals = new Map();
      const client = jitsu.jitsuAnalytics({
        host: url,
        writeKey: `${token}:x`,
        s2s: true,
        async fetch(to, request) {
          const mark = request.body.match(/"mark":"([^"]+)"/)[1];
          try {
            const answer = await fetch(to, request);
            arrivals.get(mark)(answer.ok);
            return answer;
          } catch (error) {
            arrivals.get(mark)(false);
            throw error;
          }
        },
      });
      const send = (mark) => {
        const arrival = new Promise((resolve) => arrivals.set(mark, resolve));
        client.track('Ordered', { mark });
        return arrival;
      };
      return { send, close: async () => {} };
    },
  },
];
