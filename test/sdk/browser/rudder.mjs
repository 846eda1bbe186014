/** RudderStack for browsers: event by event, in batches, and by beacons. */
import { RudderAnalytics } from '@rudderstack/analytics-js/bundled';

const opener = (options) => (url, token) => {
  const client = new RudderAnalytics();
  client.load(token, url, { configUrl: url, logLevel: 'NONE', ...options });
  return new Promise((resolve) => client.ready(() => resolve({ send: (mark) => client.track('ordered', { mark }) })));
};

export const clients = {
  'rudder-browser': opener({}),
  'rudder-browser-batches': opener({ queueOptions: { batch: { enabled: true, maxItems: 3, flushInterval: 300 } } }),
  'rudder-browser-beacons': opener({ useBeacon: true, beaconQueueOptions: { maxItems: 3 } }),
};
