/** Segment for browsers: event by event, and in batches. */
import { AnalyticsBrowser } from '@segment/analytics-next';

const opener = (options) => async (url, token) => {
  const { host, protocol } = new URL(url);
  const [client] = await AnalyticsBrowser.load(
    { writeKey: token, cdnURL: url },
    { integrations: { 'Segment.io': { apiHost: `${host}/v1`, protocol: protocol.slice(0, -1), ...options } } },
  );
  return { send: (mark) => client.track('ordered', { mark }) };
};

export const clients = {
  'segment-browser': opener({}),
  'segment-browser-batches': opener({ deliveryStrategy: { strategy: 'batching', config: { size: 3, timeout: 300 } } }),
};
