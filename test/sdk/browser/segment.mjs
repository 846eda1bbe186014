/** Segment for browsers, two versions: event by event, and in batches. */
const current = () => import('@segment/analytics-next');
const older = () => import('segment-next-1.76');

const opener = (version, options) => async (url, token) => {
  const { AnalyticsBrowser } = await version();
  const { host, protocol } = new URL(url);
  const [client] = await AnalyticsBrowser.load(
    { writeKey: token, cdnURL: url },
    { integrations: { 'Segment.io': { apiHost: `${host}/v1`, protocol: protocol.slice(0, -1), ...options } } },
  );
  return { send: (mark) => void client.track('ordered', { mark }) };
};

const batches = (config) => ({
  deliveryStrategy: { strategy: 'batching', config: { size: 3, timeout: 300, ...config } },
});

/** The older version sends batches by https alone; Weir and its proxies have no certificate here. */
const overHttp = (open) => (url, token) => {
  const { fetch } = window;
  window.fetch = (to, ...rest) => fetch(typeof to === 'string' ? to.replace(/^https:/, 'http:') : to, ...rest);
  return open(url, token);
};

export const clients = {
  'segment-browser': opener(current, {}),
  'segment-browser-batches': opener(current, batches({})),
  'segment-browser-1.76': opener(older, {}),
  // Ten tries are over before a restart is, when they are this close together.
  'segment-browser-1.76-batches': overHttp(opener(older, batches({ maxRetries: 200 }))),
};
